//! `iommufd.h`: objects, I/O address spaces, page tables, virtual IOMMUs; and the kernel's self-test requests.

pub mod hwpt;
pub mod ioas;
pub mod object;
pub mod software;
pub mod test;
pub mod viommu;

/// The type byte of iommufd's ioctls, VFIO's own.
pub const IOMMUFD_TYPE: u8 = b';';

/// The number of iommufd's first ioctl.
pub const IOMMUFD_CMD_BASE: u8 = 0x80;
