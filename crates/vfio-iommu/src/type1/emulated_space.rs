//! What the driver of a mediated device sees: the memory of the process, by way of the mappings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vfio_memory::{HostSpan, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::Type1;
use super::listener::DeviceId;
use super::mapping::Mapping;
use super::state::State;
use crate::{Access, DmaFault, DmaSpace, FaultReason, Iova, IovaRange, Translation};

/// Reaches memory as `vfio_dma_rw` does, looking each address up in the process that mapped it.
///
/// Accesses hold the domain's lock for reading, so when an unmap has returned none is left that could reach
/// the old memory.
pub(super) struct EmulatedSpace {
    type1: Type1,
    device: DeviceId,
    name: Arc<str>,
    open: Arc<AtomicBool>,
}

/// Part of an access that lies in one mapping.
struct Part<'s> {
    mapping: &'s Mapping,
    range: IovaRange,
}

impl Part<'_> {
    fn vaddr(&self) -> u64 {
        self.mapping.vaddr_of(self.range.start())
    }

    fn fits_page(&self) -> bool {
        self.vaddr() % PAGE_SIZE + self.range.size() <= PAGE_SIZE
    }

    fn spans(&self, write: bool) -> Result<Vec<HostSpan>, Errno> {
        let found = self.mapping.owner().mm.get_pages(self.vaddr(), self.range.size(), write);
        found.map_err(|stop| stop.errno)
    }
}

/// Runs an access under the lock; knows how to refuse it.
struct Request<'a> {
    state: &'a State,
    iova: Iova,
    len: u64,
    access: Access,
}

impl<'a> Request<'a> {
    fn fault(&self, at: Iova, reason: FaultReason) -> DmaFault {
        DmaFault { iova: at, len: self.len - (at - self.iova), access: self.access, reason }
    }

    /// Splits the access by mapping, after making sure that all of it is allowed.
    fn parts(&self) -> Result<Vec<Part<'a>>, DmaFault> {
        let mut parts = Vec::new();
        if self.len == 0 {
            return Ok(parts);
        }
        let whole = IovaRange::sized(self.iova, self.len)
            .ok_or_else(|| self.fault(self.iova, FaultReason::OutsideWindow))?;
        let mut rest = Some(whole);
        while let Some(range) = rest {
            let at = range.start();
            let mapping = self.state.mappings.at(at).ok_or_else(|| self.fault(at, FaultReason::NoMapping))?;
            if !mapping.prot.contains(self.needs()) {
                return Err(self.fault(at, FaultReason::Permission));
            }
            let last = range.last().min(mapping.range.last());
            parts.push(Part { mapping, range: IovaRange::new(at, last).expect("the mapping is around it") });
            rest = last.checked_add(1).and_then(|next| IovaRange::new(next, whole.last()));
        }
        Ok(parts)
    }

    /// Finds all of the memory first, so that an access to memory of which a part is missing does nothing.
    fn spans(&self, write: bool) -> Result<Vec<HostSpan>, DmaFault> {
        let mut spans = Vec::new();
        for part in self.parts()? {
            let found =
                part.spans(write).map_err(|_| self.fault(part.range.start(), FaultReason::Detached))?;
            spans.extend(found);
        }
        Ok(spans)
    }

    /// Hands out the memory piece by piece, with the number of bytes before each.
    fn visit(
        &self,
        write: bool,
        mut visit: impl FnMut(&HostSpan, usize) -> Result<(), Errno>,
    ) -> Result<(), DmaFault> {
        let mut done = 0;
        for span in self.spans(write)? {
            visit(&span, done).map_err(|_| self.fault(self.iova + done as u64, FaultReason::Detached))?;
            done += span.len as usize;
        }
        Ok(())
    }

    /// Returns the whole access as one part, if it lies in one mapping and one page: then it succeeds or fails
    /// as a whole anyway.
    fn small(&self) -> Option<Part<'a>> {
        let range = IovaRange::sized(self.iova, self.len)?;
        let mapping = self.state.mappings.at(self.iova).filter(|mapping| mapping.range.covers(range))?;
        let part = Part { mapping, range };
        (mapping.prot.contains(self.needs()) && part.fits_page()).then_some(part)
    }

    /// Returns the rights an access needs: a driver may write only what it may read as well.
    fn needs(&self) -> Prot {
        self.access.prot() | Prot::READ
    }

    fn read(&self, into: &mut [u8]) -> Result<(), DmaFault> {
        if let Some(part) = self.small() {
            let read = part.mapping.owner().mm.read(part.vaddr(), into);
            return read.map_err(|_| self.fault(self.iova, FaultReason::Detached));
        }
        self.visit(false, |span, done| {
            span.memory.read(span.offset, &mut into[done..done + span.len as usize])
        })
    }

    fn write(&self, from: &[u8]) -> Result<(), DmaFault> {
        if let Some(part) = self.small() {
            let written = part.mapping.owner().mm.write(part.vaddr(), from);
            return written.map_err(|_| self.fault(self.iova, FaultReason::Detached));
        }
        self.visit(true, |span, done| span.memory.write(span.offset, &from[done..done + span.len as usize]))
    }

    fn fill(&self, byte: u8) -> Result<(), DmaFault> {
        self.visit(true, |span, _| span.memory.fill(span.offset, byte, span.len))
    }

    /// Runs an atomic operation on one aligned word.
    fn word<T>(&self, run: impl FnOnce(&HostSpan) -> Result<T, Errno>) -> Result<T, DmaFault> {
        if !self.iova.is_multiple_of(self.len) {
            return Err(self.fault(self.iova, FaultReason::Misaligned));
        }
        let spans = self.spans(true)?;
        let span = spans.first().ok_or_else(|| self.fault(self.iova, FaultReason::Detached))?;
        run(span).map_err(|errno| {
            let misaligned = errno == Errno::EINVAL;
            self.fault(self.iova, if misaligned { FaultReason::Misaligned } else { FaultReason::Detached })
        })
    }

    fn translate(&self) -> Result<Translation, DmaFault> {
        let mut parts = self.parts()?;
        let gone = || self.fault(self.iova, FaultReason::Detached);
        let part = parts.pop().ok_or_else(gone)?;
        let to_end = part.mapping.range.last() - self.iova + 1;
        let found = part.mapping.owner().mm.get_pages(part.vaddr(), to_end, self.access == Access::Write);
        let spans = found.unwrap_or_else(|stop| stop.spans);
        let span = spans.first().ok_or_else(gone)?;
        let host = span.memory.locate(span.offset, 1).map_err(|_| gone())?;
        Ok(Translation { host, len: span.len })
    }
}

impl EmulatedSpace {
    pub(super) fn new(type1: Type1, device: DeviceId, name: &str, open: Arc<AtomicBool>) -> Self {
        Self { type1, device, name: name.into(), open }
    }

    /// Runs an access under the lock; marks what it wrote; logs a refusal.
    fn access<T>(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        run: impl FnOnce(&Request<'_>) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        let result = if self.open.load(Ordering::Acquire) {
            let state = self.type1.0.state.read();
            let request = Request { state: &state, iova, len, access };
            let result = run(&request);
            if result.is_ok() && access == Access::Write {
                IovaRange::sized(iova, len).into_iter().for_each(|range| state.mark_dirty(range));
            }
            result
        } else {
            Err(DmaFault { iova, len, access, reason: FaultReason::NotAttached })
        };
        result.map_err(|fault| self.type1.0.report(&self.name, fault))
    }
}

impl DmaSpace for EmulatedSpace {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.access(iova, into.len() as u64, Access::Read, |request| request.read(into))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.access(iova, from.len() as u64, Access::Write, |request| request.write(from))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.access(iova, len, Access::Write, |request| request.fill(byte))
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        let swap = |span: &HostSpan| span.memory.compare_exchange_u32(span.offset, current, new);
        self.access(iova, 4, Access::Write, |request| request.word(swap))
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        let swap = |span: &HostSpan| span.memory.compare_exchange_u64(span.offset, current, new);
        self.access(iova, 8, Access::Write, |request| request.word(swap))
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        let add = |span: &HostSpan| span.memory.fetch_add_u32(span.offset, value);
        self.access(iova, 4, Access::Write, |request| request.word(add))
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        let add = |span: &HostSpan| span.memory.fetch_add_u64(span.offset, value);
        self.access(iova, 8, Access::Write, |request| request.word(add))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.access(iova, 1, access, |request| request.translate())
    }

    fn pin_pages(&self, iova: Iova, npages: u64, prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        self.type1.0.pin_pages(self.device, iova, npages, prot)
    }

    fn unpin_pages(&self, iova: Iova, npages: u64) {
        self.type1.0.unpin_pages(self.device, iova, npages);
    }

    fn pin_batch(&self, iovas: &[u64], prot: Prot, hosts: &mut [u64]) -> Result<(), Errno> {
        self.type1.0.pin_batch(self.device, iovas, prot, hosts)
    }

    fn unpin_batch(&self, iovas: &[u64]) {
        self.type1.0.unpin_batch(self.device, iovas);
    }
}
