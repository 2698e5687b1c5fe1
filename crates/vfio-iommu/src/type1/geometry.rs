//! What the IOMMU in front of a hardware group can do.

use crate::IovaRange;

/// Describes the IOMMU that a hardware group sits behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HwIommu {
    /// One bit per page size it supports.
    pub pgsizes: u64,
    /// The addresses it translates.
    pub aperture: IovaRange,
    /// Ranges that the group's devices cannot use.
    pub reserved: Vec<ReservedRegion>,
    /// Enforces cache coherency (`VFIO_DMA_CC_IOMMU`).
    pub cache_coherency: bool,
}

impl HwIommu {
    /// Describes the IOMMU of an x86 machine of today: 4 KiB, 2 MiB and 1 GiB pages, 48 address bits, the
    /// interrupt window at 0xfee00000 reserved, no snoop control.
    #[must_use]
    pub fn x86() -> Self {
        let window = IovaRange::sized(0xfee0_0000, 0x10_0000).expect("the window is not empty");
        Self {
            pgsizes: 1 << 12 | 1 << 21 | 1 << 30,
            aperture: IovaRange::sized(0, 1 << 48).expect("48 bits are not empty"),
            reserved: vec![ReservedRegion { range: window, kind: ReservedKind::Msi }],
            cache_coherency: false,
        }
    }

    /// Returns the ranges that no mapping may touch.
    pub(super) fn excluded(&self) -> impl Iterator<Item = IovaRange> {
        let excludes = |region: &&ReservedRegion| region.kind != ReservedKind::DirectRelaxable;
        self.reserved.iter().filter(excludes).map(|region| region.range)
    }

    /// Tells whether two groups can share a domain.
    pub(super) fn compatible(&self, other: &Self) -> bool {
        self.pgsizes == other.pgsizes
            && self.aperture == other.aperture
            && self.cache_coherency == other.cache_coherency
    }
}

/// A range that devices of a group cannot use for DMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedRegion {
    /// The addresses.
    pub range: IovaRange,
    /// What lies there.
    pub kind: ReservedKind,
}

/// Says why a range is reserved (`enum iommu_resv_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservedKind {
    /// Mapped one to one at all times.
    Direct,
    /// Mapped one to one while the host's driver uses the device; free for assigned devices.
    DirectRelaxable,
    /// Never translated.
    Reserved,
    /// The hardware's window for message-signalled interrupts.
    Msi,
    /// The window that software chose for them.
    SoftwareMsi,
}
