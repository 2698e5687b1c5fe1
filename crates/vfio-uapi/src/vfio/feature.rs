//! Device features: one request probes, reads and sets them; payloads follow the head.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_DEVICE_FEATURE_MASK: u32 = 0xffff, "The bits of `flags` that number the feature.";
    VFIO_DEVICE_FEATURE_GET: u32 = 1 << 16, "Reads the feature into the data.";
    VFIO_DEVICE_FEATURE_SET: u32 = 1 << 17, "Sets the feature from the data.";
    VFIO_DEVICE_FEATURE_PROBE: u32 = 1 << 18, "Asks whether what is asked for with it is supported.";
    VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: u32 = 0, "Feature: the token that a PF's user shares with the VFs' users.";
    VFIO_DEVICE_FEATURE_MIGRATION: u32 = 1, "Feature: which migration states there are.";
    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: u32 = 2, "Feature: the migration state.";
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: u32 = 3, "Feature: let the device sleep.";
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: u32 = 4, "Feature: let the device sleep until it signals.";
    VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: u32 = 5, "Feature: keep the device awake.";
    VFIO_DEVICE_FEATURE_DMA_LOGGING_START: u32 = 6, "Feature: start to log what the device writes.";
    VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP: u32 = 7, "Feature: stop to log what the device writes.";
    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: u32 = 8, "Feature: report and clear what the device wrote.";
    VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: u32 = 9, "Feature: how much there will be to copy once the device has stopped.";
    VFIO_DEVICE_FEATURE_BUS_MASTER: u32 = 10, "Feature: let a CDX device do DMA.";
    VFIO_DEVICE_FEATURE_DMA_BUF: u32 = 11, "Feature: export parts of a region as a dma-buf.";
    VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: u32 = 12, "Feature: opt in to `VFIO_PRECOPY_INFO_REINIT`.";
    VFIO_DEVICE_FEATURE_CLEAR_MASTER: u32 = 0, "Operation of the bus-master feature: no DMA.";
    VFIO_DEVICE_FEATURE_SET_MASTER: u32 = 1, "Operation of the bus-master feature: DMA.";
}

structs! {
    /// Head of a `VFIO_DEVICE_FEATURE` request; the feature's data follow.
    VfioDeviceFeature = "vfio_device_feature" {
        argsz: u32,
        /// the feature's number and `VFIO_DEVICE_FEATURE_{GET,SET,PROBE}`,
        flags: u32,
    }

    /// Data of feature `LOW_POWER_ENTRY_WITH_WAKEUP`.
    VfioDeviceLowPowerEntryWithWakeup = "vfio_device_low_power_entry_with_wakeup" {
        wakeup_eventfd: i32,
        reserved: u32,
    }

    /// Data of feature `DMA_LOGGING_START`.
    VfioDeviceFeatureDmaLoggingControl = "vfio_device_feature_dma_logging_control" {
        /// the page size to aim at; the one chosen comes back,
        page_size: u64,
        num_ranges: u32,
        __reserved: u32,
        /// address of the ranges,
        ranges: u64,
    }

    /// Range of IOVAs to log.
    VfioDeviceFeatureDmaLoggingRange = "vfio_device_feature_dma_logging_range" {
        iova: u64,
        length: u64,
    }

    /// Data of feature `DMA_LOGGING_REPORT`.
    VfioDeviceFeatureDmaLoggingReport = "vfio_device_feature_dma_logging_report" {
        iova: u64,
        length: u64,
        /// bytes per bit,
        page_size: u64,
        /// address of the bitmap,
        bitmap: u64,
    }

    /// Data of feature `BUS_MASTER`.
    VfioDeviceFeatureBusMaster = "vfio_device_feature_bus_master" {
        /// `VFIO_DEVICE_FEATURE_{CLEAR,SET}_MASTER`,
        op: u32,
    }

    /// Data of feature `DMA_BUF` with its first range; further ranges follow.
    VfioDeviceFeatureDmaBuf = "vfio_device_feature_dma_buf" {
        region_index: u32,
        /// flags of the new file,
        open_flags: u32,
        flags: u32,
        nr_ranges: u32,
        /// where the first range starts in the region,
        offset0: u64,
        /// bytes of the first range,
        length0: u64,
    }

    /// Range of a region that becomes part of a dma-buf.
    VfioRegionDmaRange = "vfio_region_dma_range" {
        offset: u64,
        length: u64,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Probes, reads or sets a feature of a device.
    VFIO_DEVICE_FEATURE = IO(VFIO_BASE + 17), VfioDeviceFeature;
}
