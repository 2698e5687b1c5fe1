//! The devices that a domain serves, and which of them hear of unmaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Type1;
use super::emulated_space::EmulatedSpace;
use super::hw_space::HwSpace;
use crate::{DmaSpace, IovaRange};

/// Names an open device inside one domain; the caller chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u64);

/// Says how a device reaches memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Behind the host's IOMMU, through the page table.
    Hw,
    /// A mediated device, by its driver's `vfio_dma_rw` and `vfio_pin_pages`.
    Emulated,
}

/// Hears that memory is about to be unmapped.
pub trait DmaUnmapListener: Send + Sync {
    /// Asks the driver to unpin every page of `range` before it returns (`dma_unmap` of the device's
    /// operations). Called without any lock held, and again as long as pages of a mapping stay pinned.
    fn dma_unmap(&self, range: IovaRange);
}

/// What a domain knows of an open device.
pub(super) struct Device {
    open: Arc<AtomicBool>,
    pub(super) listener: Option<Arc<dyn DmaUnmapListener>>,
}

impl Device {
    fn new() -> Self {
        Self { open: Arc::new(AtomicBool::new(true)), listener: None }
    }

    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}

impl Type1 {
    /// Gives a device its view of memory, until [`close_device`](Self::close_device).
    #[must_use]
    pub fn space_for(&self, device: DeviceId, name: &str, kind: DeviceKind) -> Arc<dyn DmaSpace> {
        let mut state = self.0.state.write();
        let open = Arc::clone(&state.devices.entry(device).or_insert_with(Device::new).open);
        match kind {
            DeviceKind::Hw => Arc::new(HwSpace::new(self.clone(), name, open)),
            DeviceKind::Emulated => Arc::new(EmulatedSpace::new(self.clone(), device, name, open)),
        }
    }

    /// Makes a device hear of unmaps, which lets it pin pages.
    pub fn register_listener(&self, device: DeviceId, listener: Arc<dyn DmaUnmapListener>) {
        let mut state = self.0.state.write();
        let old = state.devices.entry(device).or_insert_with(Device::new).listener.replace(listener);
        drop(state);
        drop(old); // outside the lock: it may own anything
    }

    /// Forgets a device: its view answers "not attached", and what it had pinned is unpinned. Closing one that
    /// is unknown does nothing.
    pub fn close_device(&self, device: DeviceId) {
        let mut state = self.0.state.write();
        let Some(known) = state.devices.remove(&device) else { return };
        known.close();
        state.drop_pins_of(device);
        drop(state);
        drop(known); // outside the lock: its listener may own anything
    }
}
