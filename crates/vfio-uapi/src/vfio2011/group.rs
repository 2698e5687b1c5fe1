//! Groups: what they are, merging them, and what is opened through them.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_GROUP_FLAGS_VIABLE: u32 = 1 << 0, "Every device of the group is bound to a VFIO driver.";
    VFIO_GROUP_FLAGS_MM_LOCKED: u32 = 1 << 1, "The group is in use, and by the memory of one process only.";
}

structs! {
    /// Answer of `VFIO_GROUP_GET_INFO`.
    VfioGroupInfo = "vfio_group_info" {
        argsz: u32,
        /// `VFIO_GROUP_FLAGS_*`,
        flags: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Tells whether a group is viable and in use.
    VFIO_GROUP_GET_INFO = IO(VFIO_BASE), VfioGroupInfo;
    /// Merges the group behind a descriptor into this one.
    VFIO_GROUP_MERGE = IOW(VFIO_BASE + 1; i32);
    /// Takes this group out of the merged ones.
    VFIO_GROUP_UNMERGE = IO(VFIO_BASE + 2);
    /// Opens the IOMMU that merged groups share.
    VFIO_GROUP_GET_IOMMU_FD = IO(VFIO_BASE + 3);
    /// Opens a device of the group by what its driver takes for its name.
    VFIO_GROUP_GET_DEVICE_FD = IOW(VFIO_BASE + 4; u8);
}
