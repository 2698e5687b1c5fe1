//! A function's DMA by a PASID: gated by bus mastering as its other DMA is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vfio_iommu::{Access, DmaFault, DmaSpace, FaultReason, Iova, ReadDone, Translation, WriteDone};

/// Runs accesses through the view of one PASID.
pub(super) struct PasidPort {
    pub(super) view: Arc<dyn DmaSpace>,
    pub(super) master: Arc<AtomicBool>,
}

impl PasidPort {
    fn check(&self, iova: Iova, len: u64, access: Access) -> Result<(), DmaFault> {
        if self.master.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(DmaFault { iova, len, access, reason: FaultReason::BusMasterOff })
    }
}

impl DmaSpace for PasidPort {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.check(iova, into.len() as u64, Access::Read)?;
        self.view.read(iova, into)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.check(iova, from.len() as u64, Access::Write)?;
        self.view.write(iova, from)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.check(iova, len, Access::Write)?;
        self.view.fill(iova, byte, len)
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.check(iova, 4, Access::Write)?;
        self.view.compare_exchange_u32(iova, current, new)
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.check(iova, 8, Access::Write)?;
        self.view.compare_exchange_u64(iova, current, new)
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.check(iova, 4, Access::Write)?;
        self.view.fetch_add_u32(iova, value)
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.check(iova, 8, Access::Write)?;
        self.view.fetch_add_u64(iova, value)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.check(iova, 1, access)?;
        self.view.translate(iova, access)
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        match self.check(iova, len as u64, Access::Read) {
            Ok(()) => self.view.submit_read(iova, len, done),
            Err(fault) => done(Err(fault)),
        }
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        match self.check(iova, data.len() as u64, Access::Write) {
            Ok(()) => self.view.submit_write(iova, data, done),
            Err(fault) => done(Err(fault)),
        }
    }
}
