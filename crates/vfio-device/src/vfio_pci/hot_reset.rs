//! Resets: of one function for its user, and of a whole bus.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::VfioPci;
use super::session::Session;
use crate::pci::{PciFunction, PowerState};

impl Session {
    /// Resets the function for its user.
    ///
    /// # Errors
    /// `EINVAL` it has no reset that works.
    pub(super) fn reset(&self) -> Result<(), Errno> {
        if !self.reset_works {
            return Err(Errno::EINVAL);
        }
        self.set_power(PowerState::D0);
        self.function.try_reset()
    }
}

/// Resets the bus that these devices sit on (`VFIO_DEVICE_PCI_HOT_RESET`): functions are woken, saved, reset together and
/// restored. Who may do so, and which devices belong to it, is for the caller to know.
pub fn hot_reset(devices: &[&VfioPci]) {
    let mut functions: Vec<Arc<PciFunction>> = Vec::with_capacity(devices.len());
    for device in devices {
        if let Some(session) = device.peek() {
            session.set_power(PowerState::D0);
        }
        functions.push(Arc::clone(&device.function));
    }
    PciFunction::reset_bus(&functions);
}
