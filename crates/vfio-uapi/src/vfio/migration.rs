//! Migration: states, what a device supports, the precopy estimate.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_MIGRATION_STOP_COPY: u32 = 1 << 0, "The device migrates once it has stopped.";
    VFIO_MIGRATION_P2P: u32 = 1 << 1, "The device can be quiescent towards its peers.";
    VFIO_MIGRATION_PRE_COPY: u32 = 1 << 2, "The device can be copied while it runs.";
    VFIO_DEVICE_STATE_ERROR: u32 = 0, "The device failed to change its state; only a reset helps.";
    VFIO_DEVICE_STATE_STOP: u32 = 1, "The device does nothing and changes nothing.";
    VFIO_DEVICE_STATE_RUNNING: u32 = 2, "The device works.";
    VFIO_DEVICE_STATE_STOP_COPY: u32 = 3, "The device does nothing and its state is read.";
    VFIO_DEVICE_STATE_RESUMING: u32 = 4, "The device does nothing and its state is written.";
    VFIO_DEVICE_STATE_RUNNING_P2P: u32 = 5, "The device works, but starts no DMA to peers.";
    VFIO_DEVICE_STATE_PRE_COPY: u32 = 6, "The device works while its state is read.";
    VFIO_DEVICE_STATE_PRE_COPY_P2P: u32 = 7, "As pre-copy, without DMA to peers.";
    VFIO_DEVICE_STATE_NR: u32 = 8, "How many migration states there are.";
    VFIO_PRECOPY_INFO_REINIT: u32 = 1 << 0, "The device has new initial data.";
}

structs! {
    /// Data of feature `MIGRATION`.
    VfioDeviceFeatureMigration = "vfio_device_feature_migration" {
        /// `VFIO_MIGRATION_*`,
        flags: u64,
    }

    /// Data of feature `MIG_DEVICE_STATE`.
    VfioDeviceFeatureMigState = "vfio_device_feature_mig_state" {
        /// `VFIO_DEVICE_STATE_*`,
        device_state: u32,
        /// file that the change of state opened, or -1,
        data_fd: i32,
    }

    /// Data of feature `MIG_DATA_SIZE`.
    VfioDeviceFeatureMigDataSize = "vfio_device_feature_mig_data_size" {
        /// bytes,
        stop_copy_length: u64,
    }

    /// Answer of `VFIO_MIG_GET_PRECOPY_INFO`.
    VfioPrecopyInfo = "vfio_precopy_info" {
        argsz: u32,
        /// `VFIO_PRECOPY_INFO_*`,
        flags: u32,
        /// bytes that are worth reading before the device stops,
        initial_bytes: u64,
        /// bytes changed since they were read,
        dirty_bytes: u64,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Estimates what is left to read; a request on the migration file.
    VFIO_MIG_GET_PRECOPY_INFO = IO(VFIO_BASE + 21), VfioPrecopyInfo;
}
