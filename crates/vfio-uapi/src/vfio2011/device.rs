//! Devices: regions, interrupts and their eventfds, reset.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_DEVICE_FLAGS_RESET: u32 = 1 << 0, "The device can be reset.";
    VFIO_REGION_INFO_FLAG_MMAP: u32 = 1 << 0, "The region can be mapped.";
    VFIO_REGION_INFO_FLAG_RO: u32 = 1 << 1, "The region can only be read.";
    VFIO_IRQ_INFO_FLAG_LEVEL: u32 = 1 << 0, "The interrupt is level triggered: it is masked when it was told.";
}

structs! {
    /// Answer of `VFIO_DEVICE_GET_INFO`.
    VfioDeviceInfo = "vfio_device_info" {
        argsz: u32,
        /// `VFIO_DEVICE_FLAGS_*`,
        flags: u32,
        /// highest region index + 1,
        num_regions: u32,
        /// highest interrupt index + 1,
        num_irqs: u32,
    }

    /// Request and answer of `VFIO_DEVICE_GET_REGION_INFO`.
    VfioRegionInfo = "vfio_region_info" {
        argsz: u32,
        /// `VFIO_REGION_INFO_FLAG_*`,
        flags: u32,
        index: u32,
        resv: u32,
        /// bytes,
        size: u64,
        /// where the region begins in the device file,
        offset: u64,
    }

    /// Request and answer of `VFIO_DEVICE_GET_IRQ_INFO`.
    VfioIrqInfo = "vfio_irq_info" {
        argsz: u32,
        /// `VFIO_IRQ_INFO_FLAG_*`,
        flags: u32,
        index: u32,
        /// interrupts within the index,
        count: u32,
    }

    /// Request of `VFIO_DEVICE_SET_IRQ_EVENTFDS` and `VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD`; the descriptors follow, -1 unsets.
    VfioIrqEventfds = "vfio_irq_eventfds" {
        argsz: u32,
        /// none are defined,
        flags: u32,
        index: u32,
        /// how many descriptors follow,
        count: u32,
    }

    /// Request of `VFIO_DEVICE_UNMASK_IRQ`.
    VfioUnmaskIrq = "vfio_unmask_irq" {
        argsz: u32,
        /// none are defined,
        flags: u32,
        index: u32,
        /// which interrupt within the index,
        subindex: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes a device.
    VFIO_DEVICE_GET_INFO = IO(VFIO_BASE + 7), VfioDeviceInfo;
    /// Describes a region.
    VFIO_DEVICE_GET_REGION_INFO = IO(VFIO_BASE + 8), VfioRegionInfo;
    /// Describes an interrupt index.
    VFIO_DEVICE_GET_IRQ_INFO = IO(VFIO_BASE + 9), VfioIrqInfo;
    /// Sets what interrupts signal, which enables them.
    VFIO_DEVICE_SET_IRQ_EVENTFDS = IO(VFIO_BASE + 10), VfioIrqEventfds;
    /// Unmasks an interrupt.
    VFIO_DEVICE_UNMASK_IRQ = IO(VFIO_BASE + 11), VfioUnmaskIrq;
    /// Sets what unmasks interrupts when it is signalled.
    VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD = IO(VFIO_BASE + 12), VfioIrqEventfds;
    /// Resets the device.
    VFIO_DEVICE_RESET = IO(VFIO_BASE + 13);
}
