//! Accesses without knowing what lies behind: a page table, a guest's on top of one, or an address space.

use vfio_memory::{HostSpan, PAGE_SIZE};
use vfio_uapi::Errno;

use super::access::IoasAccess;
use crate::{Access, DmaFault, DmaSpace, FaultReason, IoPageTable, Iova, Translation};

/// An access that is to be made.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) iova: Iova,
    pub(super) len: u64,
    pub(super) access: Access,
}

impl Request {
    pub(super) fn read(iova: Iova, len: u64) -> Self {
        Self { iova, len, access: Access::Read }
    }

    pub(super) fn write(iova: Iova, len: u64) -> Self {
        Self { iova, len, access: Access::Write }
    }

    pub(super) fn fault(self, reason: FaultReason) -> DmaFault {
        let Self { iova, len, access } = self;
        DmaFault { iova, len, access, reason }
    }

    fn refused(self, errno: Errno) -> DmaFault {
        self.fault(match errno {
            Errno::EPERM => FaultReason::Permission,
            Errno::ENOENT => FaultReason::NoMapping,
            Errno::EOVERFLOW => FaultReason::OutsideWindow,
            _ => FaultReason::Detached,
        })
    }
}

/// What a device can be led to.
pub(super) trait Reach {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault>;
    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault>;
    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault>;
    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault>;
    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault>;
    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault>;
    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault>;
    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault>;
}

impl Reach for IoPageTable {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        DmaSpace::read(self, iova, into)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        DmaSpace::write(self, iova, from)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        DmaSpace::fill(self, iova, byte, len)
    }

    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.compare_exchange_u32(iova, current, new)
    }

    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.compare_exchange_u64(iova, current, new)
    }

    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.fetch_add_u32(iova, value)
    }

    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.fetch_add_u64(iova, value)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        DmaSpace::translate(self, iova, access)
    }
}

impl IoasAccess {
    /// Runs an atomic operation on one aligned word.
    fn word<T>(
        &self,
        iova: Iova,
        len: u64,
        run: impl Fn(&HostSpan) -> Result<T, Errno>,
    ) -> Result<T, DmaFault> {
        let request = Request::write(iova, len);
        if !iova.is_multiple_of(len) {
            return Err(request.fault(FaultReason::Misaligned));
        }
        let mut result = None;
        let visited = self.visit(iova, len, true, |span| {
            result = Some(run(span)?);
            Ok(())
        });
        visited.map_err(|errno| request.refused(errno))?;
        result.ok_or_else(|| request.fault(FaultReason::Detached))
    }
}

impl Reach for IoasAccess {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let request = Request::read(iova, into.len() as u64);
        if into.is_empty() {
            return Ok(());
        }
        Self::read(self, iova, into).map_err(|errno| request.refused(errno))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let request = Request::write(iova, from.len() as u64);
        if from.is_empty() {
            return Ok(());
        }
        Self::write(self, iova, from).map_err(|errno| request.refused(errno))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        if len == 0 {
            return Ok(());
        }
        let fill = |span: &HostSpan| span.memory.fill(span.offset, byte, span.len);
        self.visit(iova, len, true, fill).map_err(|errno| Request::write(iova, len).refused(errno))
    }

    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |span| span.memory.compare_exchange_u32(span.offset, current, new))
    }

    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |span| span.memory.compare_exchange_u64(span.offset, current, new))
    }

    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |span| span.memory.fetch_add_u32(span.offset, value))
    }

    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |span| span.memory.fetch_add_u64(span.offset, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let request = Request { iova, len: 1, access };
        let mut found = None;
        let visited = self.visit(iova, 1, access == Access::Write, |span| {
            let host = span.memory.locate(span.offset, 1)?;
            found = Some(Translation { host, len: PAGE_SIZE - iova % PAGE_SIZE });
            Ok(())
        });
        visited.map_err(|errno| request.refused(errno))?;
        found.ok_or_else(|| request.fault(FaultReason::Detached))
    }
}
