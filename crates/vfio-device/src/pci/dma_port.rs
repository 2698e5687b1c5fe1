//! Where a function's DMA leaves it: gated by bus mastering, through whatever address space stands behind.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use vfio_iommu::{
    Access, DmaFault, DmaSpace, EpochCell, FaultContext, FaultLog, FaultReason, Iova, REFUSED, ReadDone,
    Stopped, Translation, WriteDone,
};
use vfio_memory::{HostSpan, Prot};
use vfio_uapi::Errno;

use super::pasid_port::PasidPort;

/// Runs a function's DMA through the address space that it is attached to at that moment.
///
/// A synchronous access holds the attachment while it runs, so when [`attach`](Self::attach) returns none goes through the
/// old space. One that is submitted and not answered yet may still be; the space that it went to knows.
pub struct DmaPort {
    device: Arc<str>,
    space: RwLock<Option<Arc<dyn DmaSpace>>>,
    /// The same space, for what calls nobody.
    seen: EpochCell<Arc<dyn DmaSpace>>,
    /// The space cuts the function off after errors.
    guarded: AtomicBool,
    master: Arc<AtomicBool>,
    log: RwLock<Option<Arc<FaultLog>>>,
}

impl DmaPort {
    pub(super) fn new(device: &str) -> Self {
        Self {
            device: device.into(),
            space: RwLock::new(None),
            seen: EpochCell::new(),
            guarded: AtomicBool::new(false),
            master: Arc::default(),
            log: RwLock::new(None),
        }
    }

    /// Attaches the function to a space, or to none.
    pub fn attach(&self, space: Option<Arc<dyn DmaSpace>>) {
        let guarded = space.as_ref().is_some_and(|space| space.stopped().is_some());
        let old = {
            let mut place = self.space.write();
            self.guarded.store(guarded, Ordering::Release);
            self.seen.replace(space.clone());
            std::mem::replace(&mut *place, space)
        };
        drop(old);
    }

    /// Tells whether errors cut the function off from its user and from memory, as long as it is attached as it is.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Acquire)
    }

    /// Tells what the function is cut off from.
    #[inline]
    #[must_use]
    pub fn stopped(&self) -> Stopped {
        if !self.is_guarded() {
            return Stopped::empty();
        }
        let space = self.space.read_recursive();
        space.as_ref().and_then(|space| space.stopped()).unwrap_or(Stopped::empty())
    }

    /// Tells whether the function is attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.space.read_recursive().is_some()
    }

    /// Has accesses recorded that are refused here: bus mastering is off, or nothing is attached. Those that the space
    /// refuses are the space's to record.
    pub fn report_to(&self, log: Option<Arc<FaultLog>>) {
        let old = std::mem::replace(&mut *self.log.write(), log);
        drop(old);
    }

    pub(super) fn set_master(&self, on: bool) {
        self.master.store(on, Ordering::Release);
    }

    /// Tells whether the function may master the bus.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.master.load(Ordering::Acquire)
    }

    fn through<T>(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        run: impl FnOnce(&dyn DmaSpace) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        if self.is_master() {
            // Recursive: a listener of the space may lead to another access of this thread while somebody waits to detach.
            let space = self.space.read_recursive();
            if let Some(space) = &*space {
                return run(space.as_ref());
            }
        }
        Err(self.refuse(iova, len, access))
    }

    /// Finds the space for an access that may be answered later.
    fn target(&self, iova: Iova, len: usize, access: Access) -> Result<Arc<dyn DmaSpace>, DmaFault> {
        let space = if self.is_master() { self.space.read_recursive().clone() } else { None };
        space.ok_or_else(|| self.refuse(iova, len as u64, access))
    }

    fn refuse(&self, iova: Iova, len: u64, access: Access) -> DmaFault {
        let reason = if self.is_master() { FaultReason::NotAttached } else { FaultReason::BusMasterOff };
        let fault = DmaFault { iova, len, access, reason };
        let log = self.log.read_recursive().clone();
        if let Some(log) = log {
            log.record(&self.device, fault, FaultContext::default());
        }
        fault
    }
}

impl DmaSpace for DmaPort {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.through(iova, into.len() as u64, Access::Read, |space| space.read(iova, into))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.through(iova, from.len() as u64, Access::Write, |space| space.write(iova, from))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.through(iova, len, Access::Write, |space| space.fill(iova, byte, len))
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.through(iova, 4, Access::Write, |space| space.compare_exchange_u32(iova, current, new))
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.through(iova, 8, Access::Write, |space| space.compare_exchange_u64(iova, current, new))
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.through(iova, 4, Access::Write, |space| space.fetch_add_u32(iova, value))
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.through(iova, 8, Access::Write, |space| space.fetch_add_u64(iova, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        if self.is_master()
            && let Some(Some(found)) = self.seen.look(|space| space.peek(iova, access))
        {
            return Ok(found);
        }
        self.through(iova, 1, access, |space| space.translate(iova, access))
    }

    fn translate_batch(&self, iovas: &mut [u64], access: Access) -> usize {
        if let Some(space) = self.space.read_recursive().as_ref().filter(|_| self.is_master()) {
            return space.translate_batch(iovas, access);
        }
        iovas.fill(REFUSED);
        0
    }

    fn read_batch(&self, segments: &[[u64; 2]], into: &mut [u8]) -> Result<(), DmaFault> {
        let [iova, len] = segments.first().copied().unwrap_or_default();
        self.through(iova, len, Access::Read, |space| space.read_batch(segments, into))
    }

    fn write_batch(&self, segments: &[[u64; 2]], from: &[u8]) -> Result<(), DmaFault> {
        let [iova, len] = segments.first().copied().unwrap_or_default();
        self.through(iova, len, Access::Write, |space| space.write_batch(segments, from))
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        match self.target(iova, len, Access::Read) {
            Ok(space) => space.submit_read(iova, len, done),
            Err(fault) => done(Err(fault)),
        }
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        match self.target(iova, data.len(), Access::Write) {
            Ok(space) => space.submit_write(iova, data, done),
            Err(fault) => done(Err(fault)),
        }
    }

    fn with_pasid(&self, pasid: u32) -> Result<Arc<dyn DmaSpace>, Errno> {
        let space = self.space.read_recursive();
        let view = space.as_ref().ok_or(Errno::ENODEV)?.with_pasid(pasid)?;
        let master = Arc::clone(&self.master);
        Ok(Arc::new(PasidPort { view, master }))
    }

    fn stopped(&self) -> Option<Stopped> {
        self.is_guarded().then(|| Self::stopped(self))
    }

    fn pin_pages(&self, iova: Iova, npages: u64, prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        let space = self.space.read_recursive();
        space.as_ref().ok_or(Errno::ENODEV)?.pin_pages(iova, npages, prot)
    }

    fn unpin_pages(&self, iova: Iova, npages: u64) {
        if let Some(space) = &*self.space.read_recursive() {
            space.unpin_pages(iova, npages);
        }
    }

    fn pin_batch(&self, iovas: &[u64], prot: Prot, hosts: &mut [u64]) -> Result<(), Errno> {
        let space = self.space.read_recursive();
        space.as_ref().ok_or(Errno::ENODEV)?.pin_batch(iovas, prot, hosts)
    }

    fn unpin_batch(&self, iovas: &[u64]) {
        if let Some(space) = &*self.space.read_recursive() {
            space.unpin_batch(iovas);
        }
    }
}

impl fmt::Debug for DmaPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaPort")
            .field("attached", &self.is_attached())
            .field("master", &self.is_master())
            .finish_non_exhaustive()
    }
}
