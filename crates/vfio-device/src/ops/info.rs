//! Descriptions of a device, its regions and its interrupts, with typed capabilities.

use vfio_uapi::vfio::device::VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP;
use vfio_uapi::vfio::region::{
    VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_CAP_TYPE,
};

/// Answers `VFIO_DEVICE_GET_INFO`. The flag that announces capabilities is the encoder's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `VFIO_DEVICE_FLAGS_*`.
    pub flags: u32,
    /// Highest region index plus one.
    pub num_regions: u32,
    /// Highest interrupt index plus one.
    pub num_irqs: u32,
    /// Capabilities in the order of their chain.
    pub capabilities: Vec<InfoCapability>,
}

/// Answers `VFIO_DEVICE_GET_REGION_INFO`. The flag that announces capabilities is the encoder's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// Bytes of the region; 0 where there is none.
    pub size: u64,
    /// Where the region starts in the device file.
    pub offset: u64,
    /// Capabilities in the order of their chain.
    pub capabilities: Vec<InfoCapability>,
}

/// Answers `VFIO_DEVICE_GET_IRQ_INFO`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IrqInfo {
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// Interrupts within the index.
    pub count: u32,
}

/// Holds a capability of an info structure: what stands behind its header is the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoCapability {
    /// Which capability.
    pub id: u16,
    /// Version of its layout.
    pub version: u16,
    /// Its fields in the machine's byte order (little endian).
    pub payload: Vec<u8>,
}

impl InfoCapability {
    fn new(id: u32, payload: Vec<u8>) -> Self {
        // Capability numbers fit the header's 16 bits.
        Self { id: id as u16, version: 1, payload }
    }

    /// Says that the MSI-X table may be mapped with the rest of its BAR.
    #[must_use]
    pub fn msix_mappable() -> Self {
        Self::new(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, Vec::new())
    }

    /// Lists the areas (offset and size) of a region that can be mapped.
    #[must_use]
    pub fn sparse_mmap(areas: &[(u64, u64)]) -> Self {
        let mut payload = Vec::with_capacity(8 + areas.len() * 16);
        payload.extend_from_slice(&(areas.len() as u32).to_le_bytes());
        payload.extend_from_slice(&0u32.to_le_bytes());
        for (offset, size) in areas {
            payload.extend_from_slice(&offset.to_le_bytes());
            payload.extend_from_slice(&size.to_le_bytes());
        }
        Self::new(VFIO_REGION_INFO_CAP_SPARSE_MMAP, payload)
    }

    /// Gives the type and subtype of a device-specific region.
    #[must_use]
    pub fn region_type(kind: u32, subtype: u32) -> Self {
        let mut payload = kind.to_le_bytes().to_vec();
        payload.extend_from_slice(&subtype.to_le_bytes());
        Self::new(VFIO_REGION_INFO_CAP_TYPE, payload)
    }

    /// Says which atomic operations (`VFIO_PCI_ATOMIC_COMP*`) the root complex completes for a device.
    #[must_use]
    pub fn pci_atomic_completer(flags: u32) -> Self {
        let mut payload = flags.to_le_bytes().to_vec();
        payload.extend_from_slice(&0u32.to_le_bytes());
        Self::new(VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP, payload)
    }
}
