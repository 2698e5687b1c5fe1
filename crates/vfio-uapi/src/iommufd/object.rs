//! Objects by id: their end, options, the IOAS that stands in for a container.

use super::{IOMMUFD_CMD_BASE, IOMMUFD_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    IOMMU_OPTION_RLIMIT_MODE: u32 = 0, "Option: who is charged for locked memory; 0 the user, 1 the process.";
    IOMMU_OPTION_HUGE_PAGES: u32 = 1, "Option: whether mappings are joined into larger ones.";
    IOMMU_OPTION_OP_SET: u32 = 0, "Sets an option.";
    IOMMU_OPTION_OP_GET: u32 = 1, "Reads an option.";
    IOMMU_VFIO_IOAS_GET: u32 = 0, "Asks which IOAS stands in for a container.";
    IOMMU_VFIO_IOAS_SET: u32 = 1, "Says which IOAS stands in for a container.";
    IOMMU_VFIO_IOAS_CLEAR: u32 = 2, "Takes the IOAS out of a container's place.";
}

structs! {
    /// Request of `IOMMU_DESTROY`.
    IommuDestroy = "iommu_destroy" {
        size: u32,
        id: u32,
    }

    /// Request of `IOMMU_OPTION`.
    IommuOption = "iommu_option" {
        size: u32,
        /// `IOMMU_OPTION_*`,
        option_id: u32,
        /// `IOMMU_OPTION_OP_*`,
        op: u16,
        __reserved: u16,
        object_id: u32,
        val64: u64,
    }

    /// Request of `IOMMU_VFIO_IOAS`.
    IommuVfioIoas = "iommu_vfio_ioas" {
        size: u32,
        ioas_id: u32,
        /// `IOMMU_VFIO_IOAS_*`,
        op: u16,
        __reserved: u16,
    }
}

ioctls! {
    IOMMUFD_TYPE;
    /// Destroys an object.
    IOMMU_DESTROY = IO(IOMMUFD_CMD_BASE), IommuDestroy;
    /// Reads or sets an option.
    IOMMU_OPTION = IO(IOMMUFD_CMD_BASE + 7), IommuOption;
    /// Reads or sets the IOAS that stands in for a container.
    IOMMU_VFIO_IOAS = IO(IOMMUFD_CMD_BASE + 8), IommuVfioIoas;
}
