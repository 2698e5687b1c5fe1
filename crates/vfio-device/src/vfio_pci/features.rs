//! Device features that the driver itself has.

use vfio_uapi::Errno;
use vfio_uapi::vfio::feature::{
    VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
    VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, VFIO_DEVICE_FEATURE_SET,
};

use super::VfioPci;
use super::dma_buf;
use super::session::Session;
use crate::ops::{FeatureAnswer, FeatureArgument, FeatureFlags, FeatureStep};
use crate::pci::PciFunction;
use crate::pci::registers::{CONFIG_SIZE, EXT_CAP_ID_SRIOV};

/// Bytes of a virtual function token.
const TOKEN_SIZE: usize = 16;
/// Bytes of the request to sleep until an eventfd is signalled.
const WAKEUP_SIZE: usize = 8;

/// Tells whether a function has virtual functions.
pub(super) fn has_virtual_functions(function: &PciFunction) -> bool {
    let mut at = CONFIG_SIZE as u16;
    let size = function.config_size();
    // Capabilities are aligned, which bounds a chain that bites its tail.
    for _ in 0..size.saturating_sub(CONFIG_SIZE) / 4 {
        let header = function.config_u32(at);
        if header & 0xffff == u32::from(EXT_CAP_ID_SRIOV) {
            return true;
        }
        at = (header >> 20) as u16 & 0xffc;
        if usize::from(at) < CONFIG_SIZE || usize::from(at) >= size {
            return false;
        }
    }
    false
}

impl VfioPci {
    /// Carries a request out.
    ///
    /// # Errors
    /// `ENOTTY` the driver does not have the feature; `EINVAL` as [`FeatureFlags::check`]; `EFAULT` the argument; what
    /// the feature fails with.
    pub(super) fn feature(
        &self,
        session: &Session,
        flags: FeatureFlags,
        argument: &dyn FeatureArgument,
    ) -> Result<FeatureAnswer, Errno> {
        let set = |least: usize| {
            Ok(flags.check(VFIO_DEVICE_FEATURE_SET, argument.len(), least)? == FeatureStep::Set)
        };
        match flags.number() {
            VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY => {
                if set(0)? {
                    session.enter_low_power(None)?;
                }
            }
            VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP => {
                if set(WAKEUP_SIZE)? {
                    let mut bytes = [0; WAKEUP_SIZE];
                    argument.read(0, &mut bytes)?;
                    let fd = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    if fd < 0 {
                        return Err(Errno::EINVAL);
                    }
                    session.enter_low_power(Some(argument.event_fd(fd)?))?;
                }
            }
            VFIO_DEVICE_FEATURE_LOW_POWER_EXIT => {
                if set(0)? {
                    session.end_low_power();
                }
            }
            VFIO_DEVICE_FEATURE_PCI_VF_TOKEN => {
                let token = self.vf_token.as_ref().ok_or(Errno::ENOTTY)?;
                if set(TOKEN_SIZE)? {
                    let mut bytes = [0; TOKEN_SIZE];
                    argument.read(0, &mut bytes)?;
                    *token.lock() = bytes;
                }
            }
            VFIO_DEVICE_FEATURE_DMA_BUF => {
                let step = flags.check(VFIO_DEVICE_FEATURE_GET, argument.len(), dma_buf::HEADER_SIZE)?;
                if step == FeatureStep::Get {
                    return Ok(FeatureAnswer::DmaBuf(session.dma_buf(argument)?));
                }
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(FeatureAnswer::Done)
    }

    /// Tells whether `token` is the one that users of the function's virtual functions must know.
    #[must_use]
    pub fn accepts_vf_token(&self, token: &[u8; TOKEN_SIZE]) -> bool {
        self.vf_token.as_ref().is_some_and(|known| *known.lock() == *token)
    }
}
