//! PCI: region and interrupt indices of vfio-pci, hot reset; the indices of vfio-ccw stand beside them.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_PCI_BAR0_REGION_INDEX: u32 = 0, "Region of BAR 0.";
    VFIO_PCI_BAR1_REGION_INDEX: u32 = 1, "Region of BAR 1.";
    VFIO_PCI_BAR2_REGION_INDEX: u32 = 2, "Region of BAR 2.";
    VFIO_PCI_BAR3_REGION_INDEX: u32 = 3, "Region of BAR 3.";
    VFIO_PCI_BAR4_REGION_INDEX: u32 = 4, "Region of BAR 4.";
    VFIO_PCI_BAR5_REGION_INDEX: u32 = 5, "Region of BAR 5.";
    VFIO_PCI_ROM_REGION_INDEX: u32 = 6, "Region of the expansion ROM.";
    VFIO_PCI_CONFIG_REGION_INDEX: u32 = 7, "Region of the configuration space.";
    VFIO_PCI_VGA_REGION_INDEX: u32 = 8, "Region of the legacy VGA ranges.";
    VFIO_PCI_NUM_REGIONS: u32 = 9, "Regions with a fixed index; device-specific ones follow.";
    VFIO_PCI_INTX_IRQ_INDEX: u32 = 0, "Interrupt index of INTx.";
    VFIO_PCI_MSI_IRQ_INDEX: u32 = 1, "Interrupt index of MSI.";
    VFIO_PCI_MSIX_IRQ_INDEX: u32 = 2, "Interrupt index of MSI-X.";
    VFIO_PCI_ERR_IRQ_INDEX: u32 = 3, "Interrupt index that reports uncorrected errors.";
    VFIO_PCI_REQ_IRQ_INDEX: u32 = 4, "Interrupt index that asks for the device back.";
    VFIO_PCI_NUM_IRQS: u32 = 5, "Interrupt indices of vfio-pci.";
    VFIO_CCW_CONFIG_REGION_INDEX: u32 = 0, "Region of a channel device's I/O.";
    VFIO_CCW_NUM_REGIONS: u32 = 1, "Regions of a channel device with a fixed index.";
    VFIO_CCW_IO_IRQ_INDEX: u32 = 0, "Interrupt index of a channel device's I/O.";
    VFIO_CCW_CRW_IRQ_INDEX: u32 = 1, "Interrupt index of channel report words.";
    VFIO_CCW_REQ_IRQ_INDEX: u32 = 2, "Interrupt index that asks for a channel device back.";
    VFIO_CCW_NUM_IRQS: u32 = 3, "Interrupt indices of a channel device.";
    VFIO_AP_REQ_IRQ_INDEX: u32 = 0, "Interrupt index that asks for an adjunct processor back.";
    VFIO_AP_CFG_CHG_IRQ_INDEX: u32 = 1, "Interrupt index that reports a change of an adjunct processor.";
    VFIO_AP_NUM_IRQS: u32 = 2, "Interrupt indices of an adjunct processor.";
    VFIO_PCI_DEVID_OWNED: u32 = 0, "Hot-reset device id: owned through the same iommufd, without an id of its own.";
    VFIO_PCI_DEVID_NOT_OWNED: u32 = 0xffff_ffff, "Hot-reset device id: not owned, it forbids the reset.";
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID: u32 = 1 << 0, "The listed devices carry iommufd ids instead of group numbers.";
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED: u32 = 1 << 1, "Every listed device is owned: the reset is allowed.";
}

structs! {
    /// Device that a hot reset affects.
    VfioPciDependentDevice = "vfio_pci_dependent_device" {
        /// the group's number, or the device's iommufd id,
        group_id: u32,
        segment: u16,
        bus: u8,
        /// slot and function,
        devfn: u8,
    }

    /// Answer of `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`; `count` devices follow.
    VfioPciHotResetInfo = "vfio_pci_hot_reset_info" {
        argsz: u32,
        /// `VFIO_PCI_HOT_RESET_FLAG_*`,
        flags: u32,
        count: u32,
    }

    /// Request of `VFIO_DEVICE_PCI_HOT_RESET`; `count` group files follow.
    VfioPciHotReset = "vfio_pci_hot_reset" {
        argsz: u32,
        flags: u32,
        count: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Lists the devices that a hot reset affects.
    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = IO(VFIO_BASE + 12), VfioPciHotResetInfo;
    /// Resets the bus or slot of a device.
    VFIO_DEVICE_PCI_HOT_RESET = IO(VFIO_BASE + 13), VfioPciHotReset;
}
