//! The user-space API of VFIO: constants, structures, ioctl numbers and errno, without logic.
//!
//! Everything is declared once, here: macros make the Rust items and the reflection from which `cargo run -p xtask -- uapi`
//! writes `ts/uapi/`. Modules follow the headers: [`vfio`], [`iommufd`] (with the kernel's self-test requests), [`kvm`]; and
//! [`vfio2011`], a header of its own.
#![forbid(unsafe_code)]
#![expect(non_upper_case_globals, reason = "the headers write names such as VFIO_TYPE1v2_IOMMU")]

pub mod capability;
pub mod constant;
mod errno;
pub mod ioctl;
pub mod iommufd;
pub mod kvm;
pub mod layout;
pub mod vfio;
pub mod vfio2011;

pub use errno::Errno;

use constant::Constant;
use ioctl::Ioctl;
use layout::StructInfo;

/// The declarations of one header section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What the section is about.
    pub title: &'static str,
    /// Its constants.
    pub constants: &'static [Constant],
    /// Its structures.
    pub structs: &'static [StructInfo],
    /// Its requests.
    pub ioctls: &'static [Ioctl],
}

/// Names the modules that declare something, each with its title.
macro_rules! sections {
    ($($title:literal => $($module:ident)::+;)*) => {
        /// Lists every declaration, by section.
        pub const SECTIONS: &[Section] = &[$(
            Section {
                title: $title,
                constants: $($module)::+::CONSTANTS,
                structs: $($module)::+::STRUCTS,
                ioctls: $($module)::+::IOCTLS,
            },
        )*];
    };
}

sections! {
    "Containers and groups" => vfio::container;
    "Devices" => vfio::device;
    "Regions" => vfio::region;
    "Interrupts" => vfio::irq;
    "PCI and channel devices" => vfio::pci;
    "Displays" => vfio::gfx;
    "Device features" => vfio::feature;
    "Migration" => vfio::migration;
    "The type1 IOMMU" => vfio::type1;
    "The sPAPR IOMMU" => vfio::spapr;
    "iommufd: objects and options" => iommufd::object;
    "iommufd: I/O address spaces" => iommufd::ioas;
    "iommufd: page tables and hardware" => iommufd::hwpt;
    "iommufd: virtual IOMMUs" => iommufd::viommu;
    "iommufd: the software IOMMU" => iommufd::software;
    "iommufd: self-test requests" => iommufd::test;
    "KVM: the VFIO device" => kvm;
}

#[cfg(test)]
mod tests;
