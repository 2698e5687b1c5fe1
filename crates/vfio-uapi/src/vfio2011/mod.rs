//! `vfio.h` as it was proposed in November 2011: groups that merge, an IOMMU of its own file, eventfds set directly.
//!
//! Names are those of that header; many of them mean something else today, so nothing here is among the sections of the
//! present one.

pub mod device;
pub mod group;
pub mod iommu;

use crate::Section;

/// The type byte of the requests.
pub const VFIO_TYPE: u8 = b';';
/// The number of the first request.
pub const VFIO_BASE: u8 = 100;

/// Lists every declaration of the header, by section.
pub const SECTIONS: &[Section] = &[
    Section { title: "Groups", constants: group::CONSTANTS, structs: group::STRUCTS, ioctls: group::IOCTLS },
    Section {
        title: "The IOMMU",
        constants: iommu::CONSTANTS,
        structs: iommu::STRUCTS,
        ioctls: iommu::IOCTLS,
    },
    Section {
        title: "Devices",
        constants: device::CONSTANTS,
        structs: device::STRUCTS,
        ioctls: device::IOCTLS,
    },
];
