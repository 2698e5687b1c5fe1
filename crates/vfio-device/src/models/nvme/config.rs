//! What a controller is made of, and the function that it sits behind.

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::namespace::Namespace;
use super::profile::Profile;
use super::queue::MAX_QUEUE_PAIRS;
use crate::pci::{BarSpace, BarSpec, Capability, ExpressSpec, FunctionSpec, Identity, MsixSpec, PowerSpec};

/// Bytes of the namespace that [`NvmeConfig::new`] describes.
const DEFAULT_CAPACITY: u64 = 16 << 20;
/// Bytes of BAR 0: registers and doorbells, the table of messages, their pending bits.
const BAR_SIZE: u64 = 0x4000;
const MSIX_TABLE: u32 = 0x2000;
const MSIX_PENDING: u32 = 0x3000;
/// Messages that the function can send: one for the admin queue, one for each pair of queues.
pub(super) const VECTORS: u16 = MAX_QUEUE_PAIRS + 1;

/// Describes an NVMe controller with one namespace.
#[derive(Debug, Clone)]
pub struct NvmeConfig {
    /// Name for messages and faults, such as `0000:01:00.0`.
    pub name: String,
    /// Which function it claims to be; QEMU's is 1b36:0010.
    pub identity: Identity,
    /// Serial number: printable ASCII, up to 20 characters.
    pub serial: String,
    /// Model number: printable ASCII, up to 40 characters.
    pub model: String,
    /// Firmware revision: printable ASCII, up to 8 characters.
    pub firmware: String,
    /// What keeps the blocks: any memory, a mapped file too ([`Memory::from_fd`]); read-only memory makes a namespace
    /// that cannot be written. What does not fill a whole block stays unused.
    pub media: Memory,
    /// Bytes of a block: 512 or 4096.
    pub block_size: u32,
    /// Queue pairs for I/O: 1 to 64.
    pub queue_pairs: u16,
}

impl NvmeConfig {
    /// Describes a controller as QEMU has it, with 16 MiB of fresh memory.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(name: impl Into<String>) -> Result<Self, Errno> {
        Ok(Self::with_media(name, Memory::anonymous(DEFAULT_CAPACITY)?))
    }

    /// Describes a controller as QEMU has it, whose blocks `media` keeps.
    #[must_use]
    pub fn with_media(name: impl Into<String>, media: Memory) -> Self {
        Self {
            name: name.into(),
            identity: Identity {
                vendor: 0x1b36,
                device: 0x0010,
                subsystem_vendor: 0x1af4,
                subsystem: 0x1100,
                revision: 0x02,
                class: 0x01_0802,
            },
            serial: "vfio0".to_owned(),
            model: "vfio NVMe controller".to_owned(),
            firmware: "1.0".to_owned(),
            media,
            block_size: 512,
            queue_pairs: MAX_QUEUE_PAIRS,
        }
    }

    /// Describes the function.
    pub(super) fn function_spec(&self) -> FunctionSpec {
        let mut spec = FunctionSpec::new(self.name.clone(), self.identity);
        spec.interrupt_pin = 1;
        spec.bars[0] = Some(BarSpec::model(BAR_SIZE, BarSpace::Memory64));
        let msix = MsixSpec {
            vectors: VECTORS,
            table_bar: 0,
            table_offset: MSIX_TABLE,
            pba_bar: 0,
            pba_offset: MSIX_PENDING,
        };
        let power = PowerSpec { capabilities: 0x0003, no_soft_reset: true, control_writable: 0 };
        spec.capabilities = vec![
            Capability::msix(msix).at(0x40),
            Capability::express(ExpressSpec::endpoint()).at(0x80),
            Capability::power(power).at(0x60),
        ];
        spec.extended_config = true;
        spec
    }

    /// Makes what the controller says of itself.
    ///
    /// # Errors
    /// `EINVAL` a text is too long or not printable; no queue pairs, or too many.
    pub(super) fn profile(&self) -> Result<Profile, Errno> {
        if self.queue_pairs == 0 || self.queue_pairs > MAX_QUEUE_PAIRS {
            return Err(Errno::EINVAL);
        }
        Profile::new(self)
    }

    /// Makes the namespace.
    ///
    /// # Errors
    /// `EINVAL` a block size that is neither 512 nor 4096, or not one block fits.
    pub(super) fn namespace(&self) -> Result<Namespace, Errno> {
        Namespace::new(self.media.clone(), self.block_size)
    }
}
