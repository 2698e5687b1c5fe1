//! Containers and groups: the API version, the extensions and IOMMU models, group status.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_API_VERSION: u32 = 0, "Version that `VFIO_GET_API_VERSION` answers.";
    VFIO_TYPE1_IOMMU: u32 = 1, "IOMMU model type1; mappings may be cut by unmap as the kernel's first version did.";
    VFIO_SPAPR_TCE_IOMMU: u32 = 2, "IOMMU model of POWER, one default window.";
    VFIO_TYPE1v2_IOMMU: u32 = 3, "IOMMU model type1 version 2; unmap takes whole mappings only.";
    VFIO_DMA_CC_IOMMU: u32 = 4, "Extension: the IOMMU enforces DMA cache coherence.";
    VFIO_EEH: u32 = 5, "Extension: the platform recovers from PCI errors (EEH).";
    VFIO_TYPE1_NESTING_IOMMU: u32 = 6, "IOMMU model type1 with two-stage translation; withdrawn from newer kernels.";
    VFIO_SPAPR_TCE_v2_IOMMU: u32 = 7, "IOMMU model of POWER with preregistered memory and dynamic windows.";
    VFIO_NOIOMMU_IOMMU: u32 = 8, "IOMMU model without any isolation.";
    VFIO_UNMAP_ALL: u32 = 9, "Extension: unmap takes `VFIO_DMA_UNMAP_FLAG_ALL`.";
    VFIO_UPDATE_VADDR: u32 = 10, "Extension: mappings can lose and regain their virtual address.";
    VFIO_GROUP_FLAGS_VIABLE: u32 = 1 << 0, "Every device of the group is bound to VFIO or to no driver.";
    VFIO_GROUP_FLAGS_CONTAINER_SET: u32 = 1 << 1, "The group has a container.";
}

structs! {
    /// Answer of `VFIO_GROUP_GET_STATUS`.
    VfioGroupStatus = "vfio_group_status" {
        /// size of the structure as the caller knows it,
        argsz: u32,
        /// `VFIO_GROUP_FLAGS_*`,
        flags: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Returns the version of the interface.
    VFIO_GET_API_VERSION = IO(VFIO_BASE);
    /// Tells whether an extension or IOMMU model is there.
    VFIO_CHECK_EXTENSION = IO(VFIO_BASE + 1);
    /// Chooses the IOMMU model of a container.
    VFIO_SET_IOMMU = IO(VFIO_BASE + 2);
    /// Tells whether a group is viable and has a container.
    VFIO_GROUP_GET_STATUS = IO(VFIO_BASE + 3), VfioGroupStatus;
    /// Puts a group into a container.
    VFIO_GROUP_SET_CONTAINER = IO(VFIO_BASE + 4);
    /// Takes a group out of its container.
    VFIO_GROUP_UNSET_CONTAINER = IO(VFIO_BASE + 5);
    /// Opens a device of the group by name.
    VFIO_GROUP_GET_DEVICE_FD = IO(VFIO_BASE + 6);
}
