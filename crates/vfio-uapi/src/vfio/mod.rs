//! `vfio.h`: containers, groups, devices and the IOMMU drivers behind a container.

pub mod container;
pub mod device;
pub mod feature;
pub mod gfx;
pub mod irq;
pub mod migration;
pub mod pci;
pub mod region;
pub mod spapr;
pub mod type1;

/// The type byte of VFIO's and iommufd's ioctls.
pub const VFIO_TYPE: u8 = b';';

/// The number of VFIO's first ioctl.
pub const VFIO_BASE: u8 = 100;
