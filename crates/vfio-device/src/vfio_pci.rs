//! What a user of `vfio-pci` sees of a simulated function, by the rules of Linux 7.x.
//!
//! [`VfioPci`] is the driver bound to a [`PciFunction`]. While the device is open a session holds what belongs to its
//! user: virtual configuration space, interrupts, ioeventfds, low-power state. Everything takes `&self`; each part has a
//! lock of its own, and models, sinks and eventfds are called with none of them held. Locks are taken in the order
//! configuration, interrupts, function.

mod config;
mod dma_buf;
mod features;
mod hot_reset;
mod intx;
mod ioeventfd;
mod irqs;
mod low_power;
mod messages;
mod mmap;
mod plan;
mod regions;
mod rw;
mod session;
#[cfg(test)]
mod tests;
mod transfer;
mod trigger;
mod virqfd;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use parking_lot::{Mutex, RwLock};
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;
use vfio_uapi::vfio::device::{VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET};
use vfio_uapi::vfio::pci::{VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS};

use crate::ops::{
    Completion, DeviceInfo, FeatureAnswer, FeatureArgument, FeatureFlags, InfoCapability, IoEventFd,
    IrqHeader, IrqInfo, IrqPayload, IrqSet, RegionInfo, RegionMapping, RegionMemory, Served, VfioDeviceOps,
};
use crate::pci::{Doorbell, PciFunction};
pub use dma_buf::DmaBuf;
pub use hot_reset::hot_reset;
use low_power::Awake;
use session::Session;

/// Bits of a device file offset that lie within a region; the region's index stands above them.
pub const OFFSET_SHIFT: u32 = 40;
/// The part of a device file offset that lies within a region.
pub const OFFSET_MASK: u64 = (1 << OFFSET_SHIFT) - 1;

/// Settings of the driver and facts about the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct VfioPciOptions {
    /// The legacy VGA ranges of a display controller are a region.
    pub vga: bool,
    /// `VFIO_PCI_ATOMIC_COMP*`: atomic operations of the function that its root port completes.
    pub atomic_completer: u32,
}

/// Drives a PCI function for a user (`vfio-pci`).
pub struct VfioPci {
    function: Arc<PciFunction>,
    options: VfioPciOptions,
    slot: RwLock<Slot>,
    /// Opening and closing do not reset the function.
    retain: AtomicBool,
    /// Token that users of virtual functions must know; only a physical function has one.
    vf_token: Option<Mutex<[u8; 16]>>,
}

/// Holds the session. Models are called while it opens and closes, and may ask for it then.
enum Slot {
    Closed,
    /// Being opened or closed.
    Changing,
    Open(Arc<Session>),
}

impl VfioPci {
    /// Binds the driver to a function.
    #[must_use]
    pub fn new(function: Arc<PciFunction>, options: VfioPciOptions) -> Self {
        let vf_token = features::has_virtual_functions(&function).then(|| Mutex::new([0; 16]));
        let (slot, retain) = (RwLock::new(Slot::Closed), AtomicBool::new(false));
        Self { function, options, slot, retain, vf_token }
    }

    /// Returns the function.
    #[must_use]
    pub const fn function(&self) -> &Arc<PciFunction> {
        &self.function
    }

    /// Tells whether the device is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.peek().is_some()
    }

    /// Returns the session, with the device awake for as long as the answer is kept.
    ///
    /// # Errors
    /// `ENODEV` the device is not open.
    fn session(&self) -> Result<Awake, Errno> {
        Ok(self.peek().ok_or(Errno::ENODEV)?.awake())
    }

    /// Returns the session without waking the device.
    fn peek(&self) -> Option<Arc<Session>> {
        match &*self.slot.read() {
            Slot::Open(session) => Some(Arc::clone(session)),
            Slot::Closed | Slot::Changing => None,
        }
    }

    /// Reports an uncorrected error of the function to its user (the ERR interrupt).
    pub fn report_error(&self) {
        if let Some(session) = self.peek() {
            session.signal_error();
        }
    }
}

impl VfioDeviceOps for VfioPci {
    fn name(&self) -> &str {
        "vfio-pci"
    }

    /// Opens the device: wakes and enables the function, resets it if it can be reset, saves its state.
    ///
    /// # Errors
    /// `EBUSY` it is open.
    fn open_device(&self, dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        {
            let mut slot = self.slot.write();
            if !matches!(*slot, Slot::Closed) {
                return Err(Errno::EBUSY);
            }
            *slot = Slot::Changing;
        }
        let session = Session::open(&self.function, self.options, self.retain.load(Ordering::Acquire));
        self.function.dma().attach(dma);
        *self.slot.write() = Slot::Open(session);
        Ok(())
    }

    /// Closes the device: ends its interrupts and DMA, and puts the function back to how it was found.
    fn close_device(&self) {
        let session = {
            let mut slot = self.slot.write();
            match std::mem::replace(&mut *slot, Slot::Changing) {
                Slot::Open(session) => session,
                other => {
                    *slot = other;
                    return;
                }
            }
        };
        session.close();
        self.function.model().abandon();
        self.function.dma().attach(None);
        *self.slot.write() = Slot::Closed;
    }

    fn set_served(&self, served: Option<Served>) {
        self.retain.store(served.is_some_and(|served| served.retain_state), Ordering::Release);
        self.function.set_alone(served.is_some());
    }

    fn set_dma(&self, dma: Option<Arc<dyn DmaSpace>>) {
        self.function.dma().attach(dma);
    }

    fn info(&self) -> DeviceInfo {
        let resets = self.peek().is_some_and(|session| session.reset_works);
        let flags = VFIO_DEVICE_FLAGS_PCI | if resets { VFIO_DEVICE_FLAGS_RESET } else { 0 };
        let capabilities = match self.options.atomic_completer {
            0 => Vec::new(),
            operations => vec![InfoCapability::pci_atomic_completer(operations)],
        };
        DeviceInfo { flags, num_regions: VFIO_PCI_NUM_REGIONS, num_irqs: VFIO_PCI_NUM_IRQS, capabilities }
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.session()?.region_info(index)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.session()?.irq_info(index)
    }

    fn irq_payload(&self, header: &IrqHeader) -> Result<IrqPayload, Errno> {
        self.session()?.irq_payload(header)
    }

    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        self.session()?.set_irqs(request)
    }

    /// Resets the function.
    ///
    /// # Errors
    /// `EINVAL` it has no reset that works.
    fn reset(&self) -> Result<(), Errno> {
        self.session()?.reset()
    }

    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        if into.is_empty() {
            return Ok(0);
        }
        self.session()?.read(region, offset, into)
    }

    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        if from.is_empty() {
            return Ok(0);
        }
        self.session()?.write(region, offset, from)
    }

    fn read_now(&self, region: u32, offset: u64, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        (!self.function.answers_later()).then(|| self.read(region, offset, into))
    }

    fn write_now(&self, region: u32, offset: u64, from: &[u8]) -> Option<Result<usize, Errno>> {
        (!self.function.answers_later()).then(|| self.write(region, offset, from))
    }

    fn submit_read(&self, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        match self.session() {
            Ok(session) => transfer::read(session, region, offset, len, done),
            Err(errno) => done(Err(errno)),
        }
    }

    fn submit_write(&self, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        match self.session() {
            Ok(session) => transfer::write(session, region, offset, from, done),
            Err(errno) => done(Err(errno)),
        }
    }

    fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        self.session()?.mmap(region, offset, len)
    }

    /// Lists what lies in memory BARs, page by page.
    fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        self.session().map_or_else(|_| Vec::new(), |session| session.region_memory(region))
    }

    fn doorbells(&self, region: u32) -> Vec<Doorbell> {
        let bar = usize::try_from(region).ok().and_then(|index| self.function.bar(index));
        bar.map_or_else(Vec::new, |bar| bar.doorbells.clone())
    }

    fn runs_on(&self) -> Option<ThreadId> {
        self.function.model().runs_on()
    }

    fn device_feature(
        &self,
        flags: FeatureFlags,
        argument: &dyn FeatureArgument,
    ) -> Result<FeatureAnswer, Errno> {
        let session = self.session()?;
        self.feature(&session, flags, argument)
    }

    fn ioeventfd(&self, request: &IoEventFd) -> Result<(), Errno> {
        self.session()?.ioeventfd(request)
    }

    fn request(&self, count: u32) {
        if let Some(session) = self.peek() {
            session.signal_request(count);
        }
    }
}

impl Drop for VfioPci {
    fn drop(&mut self) {
        self.close_device();
    }
}

impl fmt::Debug for VfioPci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfioPci")
            .field("function", &self.function.name())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
