//! The client's memory as an address space of ours: by descriptor where one came, by message elsewhere.
//!
//! Memory with a descriptor is mapped into an [`IoPageTable`], so that device models do their DMA as behind any
//! other IOMMU. Memory without one is only known: a synchronous access to it would have to wait for a message and is
//! refused with `WouldBlock`; a submitted one goes over the wire.

mod dirty;
mod files;
mod transfer;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_iommu::{
    Access, DmaFault, DmaSpace, FaultReason, IoPageTable, Iova, IovaRange, ReadDone, Translation, WriteDone,
};
use vfio_memory::{PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use crate::message::Command;
use crate::requests::Completion;
use crate::turnstile::Turnstile;
pub(crate) use dirty::{DirtyLog, bitmap_size};
use files::{FileKey, Files};
use transfer::Transfer;

/// Carries messages to the client, as long as it is there.
pub(crate) trait Carrier: Send + Sync {
    /// Sends a request; `done` runs with the reply, or with why there will be none. Writes of the client's that the device
    /// has not answered are acknowledged first: see `server::late`.
    fn submit(&self, command: Command, body: &[u8], done: Completion);
    /// Bytes that one message may carry.
    fn max_transfer(&self) -> usize;
}

/// Memory that a client lent.
pub(crate) struct GuestMemory {
    table: IoPageTable,
    lent: Mutex<Lent>,
    max_windows: usize,
    carrier: Weak<dyn Carrier>,
    turnstile: Arc<Turnstile>,
    /// What the device has written, while the client wants to know.
    pub(crate) dirty: DirtyLog,
}

#[derive(Default)]
struct Lent {
    windows: BTreeMap<Iova, Window>,
    files: Files,
}

#[derive(Clone, Copy)]
struct Window {
    last: Iova,
    prot: Prot,
    /// Reachable by message only.
    by_message: bool,
    /// The file it lies in.
    file: Option<FileKey>,
}

impl GuestMemory {
    pub(crate) fn new(carrier: Weak<dyn Carrier>, max_windows: usize) -> Self {
        Self {
            table: IoPageTable::new(),
            lent: Mutex::default(),
            max_windows,
            carrier,
            turnstile: Arc::default(),
            dirty: DirtyLog::default(),
        }
    }

    /// Takes memory in.
    ///
    /// # Errors
    /// `EINVAL` empty, wrapping or misaligned range; `EEXIST` overlap; `ENOSPC` too many; what finding the descriptor's
    /// memory fails with.
    pub(crate) fn map(
        &self,
        iova: Iova,
        size: u64,
        prot: Prot,
        source: Option<(OwnedFd, u64)>,
    ) -> Result<(), Errno> {
        let range = IovaRange::sized(iova, size).ok_or(Errno::EINVAL)?;
        if !range.is_aligned(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let mut lent = self.lent.lock();
        if overlapping(&lent.windows, range).next().is_some() {
            return Err(Errno::EEXIST);
        }
        if lent.windows.len() >= self.max_windows {
            return Err(Errno::ENOSPC);
        }
        let by_message = source.is_none();
        let mut file = None;
        if let Some((fd, offset)) = source {
            let place = lent.files.place(fd, offset, size, prot.contains(Prot::WRITE))?;
            file = Some(place.key);
            if let Err(errno) = self.table.map(range, &place.memory, place.offset, prot) {
                lent.files.release(place.key);
                return Err(errno);
            }
        }
        lent.windows.insert(range.start(), Window { last: range.last(), prot, by_message, file });
        Ok(())
    }

    /// Lets every window inside `range` go; no DMA reaches them when this returns. Nothing there is no error: a
    /// virtual IOMMU has ranges unmapped that were never mapped as such.
    ///
    /// # Errors
    /// `EINVAL` the range is misaligned or would cut a window.
    pub(crate) fn unmap(&self, range: IovaRange) -> Result<(), Errno> {
        if !range.is_aligned(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let mut lent = self.lent.lock();
        let inside: Vec<(Iova, Window)> = overlapping(&lent.windows, range).collect();
        if inside.iter().any(|(start, window)| *start < range.start() || window.last > range.last()) {
            return Err(Errno::EINVAL);
        }
        if inside.iter().any(|(_, window)| !window.by_message) {
            // One wait for all the accesses under way.
            self.table.unmap(range)?;
        }
        for (start, window) in inside {
            lent.windows.remove(&start);
            if let Some(key) = window.file {
                lent.files.release(key);
            }
        }
        Ok(())
    }

    /// Lets everything go.
    pub(crate) fn unmap_all(&self) {
        let mut lent = self.lent.lock();
        lent.windows.clear();
        self.table.unmap(IovaRange::ALL).expect("the whole space is aligned");
        lent.files.clear();
        self.dirty.stop();
    }

    /// Splits an access into what is mapped and what is known by message; the reason why it cannot be otherwise.
    fn by_message(&self, iova: Iova, len: usize, access: Access) -> Result<bool, DmaFault> {
        let fault = |reason| DmaFault { iova, len: len as u64, access, reason };
        let Some(range) = IovaRange::sized(iova, len as u64) else { return Ok(false) };
        let lent = self.lent.lock();
        let mut next = range.start();
        let mut message = false;
        for (start, window) in overlapping(&lent.windows, range) {
            if start > next {
                break;
            }
            if !window.prot.contains(access.prot()) {
                return Err(fault(FaultReason::Permission));
            }
            message |= window.by_message;
            if window.last >= range.last() {
                return Ok(message);
            }
            next = window.last + 1;
        }
        Err(fault(FaultReason::NoMapping))
    }

    fn transfer(&self, iova: Iova, len: usize) -> Transfer {
        Transfer::new(self.carrier.clone(), self.turnstile.clone(), iova, len)
    }

    /// The end of a synchronous write of a word.
    fn wrote<T>(&self, result: Result<T, DmaFault>, iova: Iova, len: u64) -> Result<T, DmaFault> {
        let before = result.map_err(|fault| self.explain(fault, iova, len, Access::Write))?;
        self.dirty.mark(iova, len);
        Ok(before)
    }

    /// A synchronous access that the table refused: memory by message is another matter than no memory.
    fn explain(&self, fault: DmaFault, iova: Iova, len: u64, access: Access) -> DmaFault {
        let len_here = usize::try_from(len).unwrap_or(usize::MAX);
        match self.by_message(iova, len_here, access) {
            Ok(true) => DmaFault { iova, len, access, reason: FaultReason::WouldBlock },
            Ok(false) | Err(_) => fault,
        }
    }
}

fn overlapping(
    windows: &BTreeMap<Iova, Window>,
    range: IovaRange,
) -> impl Iterator<Item = (Iova, Window)> + '_ {
    let before = windows.range(..range.start()).next_back().filter(move |(_, w)| w.last >= range.start());
    before.into_iter().chain(windows.range(range.start()..=range.last())).map(|(start, w)| (*start, *w))
}

impl DmaSpace for GuestMemory {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let len = into.len() as u64;
        self.table.read(iova, into).map_err(|fault| self.explain(fault, iova, len, Access::Read))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let len = from.len() as u64;
        self.table.write(iova, from).map_err(|fault| self.explain(fault, iova, len, Access::Write))?;
        self.dirty.mark(iova, len);
        Ok(())
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.table.fill(iova, byte, len).map_err(|fault| self.explain(fault, iova, len, Access::Write))?;
        self.dirty.mark(iova, len);
        Ok(())
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        let result = self.table.compare_exchange_u32(iova, current, new);
        self.wrote(result, iova, 4)
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        let result = self.table.compare_exchange_u64(iova, current, new);
        self.wrote(result, iova, 8)
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.wrote(self.table.fetch_add_u32(iova, value), iova, 4)
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.wrote(self.table.fetch_add_u64(iova, value), iova, 8)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.table.translate(iova, access).map_err(|fault| self.explain(fault, iova, 1, access))
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        let by_message = match self.by_message(iova, len, Access::Read) {
            Ok(by_message) => by_message,
            Err(fault) => return done(Err(fault)),
        };
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            let reason = FaultReason::OutOfMemory;
            return done(Err(DmaFault { iova, len: len as u64, access: Access::Read, reason }));
        }
        if by_message {
            return self.transfer(iova, len).read_on(bytes, done);
        }
        bytes.resize(len, 0);
        let result = self.read(iova, &mut bytes);
        done(result.map(|()| bytes));
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        match self.by_message(iova, data.len(), Access::Write) {
            Err(fault) => done(Err(fault)),
            Ok(false) => done(self.write(iova, &data)),
            Ok(true) => {
                // As if it were written already: the reply may come after the client has asked.
                self.dirty.mark(iova, data.len() as u64);
                self.transfer(iova, data.len()).write_on(Arc::from(data), 0, done);
            }
        }
    }
}
