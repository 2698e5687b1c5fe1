//! Interrupts: what an index can do, and the one request that does it.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_IRQ_INFO_EVENTFD: u32 = 1 << 0, "The index signals eventfds.";
    VFIO_IRQ_INFO_MASKABLE: u32 = 1 << 1, "The index can be masked.";
    VFIO_IRQ_INFO_AUTOMASKED: u32 = 1 << 2, "The index masks itself when it fires.";
    VFIO_IRQ_INFO_NORESIZE: u32 = 1 << 3, "The number of vectors is fixed while the index is enabled.";
    VFIO_IRQ_SET_DATA_NONE: u32 = 1 << 0, "No data follows.";
    VFIO_IRQ_SET_DATA_BOOL: u32 = 1 << 1, "One byte per interrupt follows.";
    VFIO_IRQ_SET_DATA_EVENTFD: u32 = 1 << 2, "One file descriptor per interrupt follows.";
    VFIO_IRQ_SET_ACTION_MASK: u32 = 1 << 3, "Masks the interrupts.";
    VFIO_IRQ_SET_ACTION_UNMASK: u32 = 1 << 4, "Unmasks the interrupts.";
    VFIO_IRQ_SET_ACTION_TRIGGER: u32 = 1 << 5, "Sets up, triggers or tears down the interrupts.";
    VFIO_IRQ_SET_DATA_TYPE_MASK: u32 = 0b111, "The bits that say what follows.";
    VFIO_IRQ_SET_ACTION_TYPE_MASK: u32 = 0b111 << 3, "The bits that say what is done.";
}

structs! {
    /// Request and answer of `VFIO_DEVICE_GET_IRQ_INFO`.
    VfioIrqInfo = "vfio_irq_info" {
        argsz: u32,
        /// `VFIO_IRQ_INFO_*`,
        flags: u32,
        index: u32,
        /// interrupts within the index,
        count: u32,
    }

    /// Request of `VFIO_DEVICE_SET_IRQS`; data as `flags` says follow.
    VfioIrqSet = "vfio_irq_set" {
        argsz: u32,
        /// one `VFIO_IRQ_SET_DATA_*` and one `VFIO_IRQ_SET_ACTION_*`,
        flags: u32,
        index: u32,
        /// first interrupt within the index,
        start: u32,
        /// how many,
        count: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes an interrupt index.
    VFIO_DEVICE_GET_IRQ_INFO = IO(VFIO_BASE + 9), VfioIrqInfo;
    /// Sets up, triggers, masks or unmasks interrupts.
    VFIO_DEVICE_SET_IRQS = IO(VFIO_BASE + 10), VfioIrqSet;
}
