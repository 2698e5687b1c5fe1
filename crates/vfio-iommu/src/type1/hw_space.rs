//! What a device behind the host's IOMMU sees: the page table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Type1;
use crate::{Access, DmaFault, DmaSpace, FaultReason, IoPageTable, Iova, REFUSED, Translation};

/// Reaches memory through the page table, without a lock; refusals are logged.
pub(super) struct HwSpace {
    type1: Type1,
    name: Arc<str>,
    open: Arc<AtomicBool>,
}

impl HwSpace {
    pub(super) fn new(type1: Type1, name: &str, open: Arc<AtomicBool>) -> Self {
        Self { type1, name: name.into(), open }
    }

    /// Runs an access, of `len` bytes at `iova`, on the table.
    #[inline]
    fn access<T>(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        run: impl FnOnce(&IoPageTable) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        let result = if self.open.load(Ordering::Acquire) {
            run(&self.type1.0.table)
        } else {
            Err(DmaFault { iova, len, access, reason: FaultReason::NotAttached })
        };
        result.map_err(|fault| self.type1.0.report(&self.name, fault))
    }
}

impl DmaSpace for HwSpace {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.access(iova, into.len() as u64, Access::Read, |table| table.read(iova, into))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.access(iova, from.len() as u64, Access::Write, |table| table.write(iova, from))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.access(iova, len, Access::Write, |table| table.fill(iova, byte, len))
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.access(iova, 4, Access::Write, |table| table.compare_exchange_u32(iova, current, new))
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.access(iova, 8, Access::Write, |table| table.compare_exchange_u64(iova, current, new))
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.access(iova, 4, Access::Write, |table| table.fetch_add_u32(iova, value))
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.access(iova, 8, Access::Write, |table| table.fetch_add_u64(iova, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.access(iova, 1, access, |table| table.translate(iova, access))
    }

    fn peek(&self, iova: Iova, access: Access) -> Option<Translation> {
        self.open.load(Ordering::Acquire).then(|| self.type1.0.table.peek(iova, access))?
    }

    fn translate_batch(&self, iovas: &mut [u64], access: Access) -> usize {
        if self.open.load(Ordering::Acquire) {
            return self.type1.0.table.translate_batch(iovas, access);
        }
        iovas.fill(REFUSED);
        0
    }

    fn read_batch(&self, segments: &[[u64; 2]], into: &mut [u8]) -> Result<(), DmaFault> {
        let [iova, len] = segments.first().copied().unwrap_or_default();
        self.access(iova, len, Access::Read, |table| table.read_batch(segments, into))
    }

    fn write_batch(&self, segments: &[[u64; 2]], from: &[u8]) -> Result<(), DmaFault> {
        let [iova, len] = segments.first().copied().unwrap_or_default();
        self.access(iova, len, Access::Write, |table| table.write_batch(segments, from))
    }
}
