//! The IOMMU of POWER (sPAPR TCE): windows, preregistered memory, error recovery.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_IOMMU_SPAPR_INFO_DDW: u32 = 1 << 0, "Dynamic windows are supported and `ddw` is valid.";
    VFIO_EEH_PE_DISABLE: u32 = 0, "Operation: switch error recovery off.";
    VFIO_EEH_PE_ENABLE: u32 = 1, "Operation: switch error recovery on.";
    VFIO_EEH_PE_UNFREEZE_IO: u32 = 2, "Operation: let I/O through again.";
    VFIO_EEH_PE_UNFREEZE_DMA: u32 = 3, "Operation: let DMA through again.";
    VFIO_EEH_PE_GET_STATE: u32 = 4, "Operation: tell the state.";
    VFIO_EEH_PE_RESET_DEACTIVATE: u32 = 5, "Operation: end a reset.";
    VFIO_EEH_PE_RESET_HOT: u32 = 6, "Operation: start a hot reset.";
    VFIO_EEH_PE_RESET_FUNDAMENTAL: u32 = 7, "Operation: start a fundamental reset.";
    VFIO_EEH_PE_CONFIGURE: u32 = 8, "Operation: configure the bridges after a reset.";
    VFIO_EEH_PE_INJECT_ERR: u32 = 9, "Operation: inject an error.";
    VFIO_EEH_PE_STATE_NORMAL: u32 = 0, "State: working.";
    VFIO_EEH_PE_STATE_RESET: u32 = 1, "State: in reset.";
    VFIO_EEH_PE_STATE_STOPPED: u32 = 2, "State: I/O and DMA stopped.";
    VFIO_EEH_PE_STATE_STOPPED_DMA: u32 = 4, "State: DMA stopped.";
    VFIO_EEH_PE_STATE_UNAVAIL: u32 = 5, "State: gone.";
}

structs! {
    /// What an sPAPR IOMMU can do about dynamic windows.
    VfioIommuSpaprTceDdwInfo = "vfio_iommu_spapr_tce_ddw_info" {
        /// one bit per supported page size,
        pgsizes: u64,
        max_dynamic_windows_supported: u32,
        /// most levels of a table,
        levels: u32,
    }

    /// Answer of `VFIO_IOMMU_SPAPR_TCE_GET_INFO`.
    VfioIommuSpaprTceInfo = "vfio_iommu_spapr_tce_info" {
        argsz: u32,
        /// `VFIO_IOMMU_SPAPR_INFO_*`,
        flags: u32,
        /// bus address of the default window,
        dma32_window_start: u32,
        /// bytes of the default window,
        dma32_window_size: u32,
        ddw: VfioIommuSpaprTceDdwInfo,
    }

    /// Request of `VFIO_IOMMU_SPAPR_REGISTER_MEMORY` and its opposite.
    VfioIommuSpaprRegisterMemory = "vfio_iommu_spapr_register_memory" {
        argsz: u32,
        flags: u32,
        vaddr: u64,
        /// bytes,
        size: u64,
    }

    /// Request of `VFIO_IOMMU_SPAPR_TCE_CREATE`.
    VfioIommuSpaprTceCreate = "vfio_iommu_spapr_tce_create" {
        argsz: u32,
        flags: u32,
        /// logarithm of the page size,
        page_shift: u32,
        __resv1: u32,
        /// bytes,
        window_size: u64,
        levels: u32,
        __resv2: u32,
        /// where the window starts on the bus,
        start_addr: u64,
    }

    /// Request of `VFIO_IOMMU_SPAPR_TCE_REMOVE`.
    VfioIommuSpaprTceRemove = "vfio_iommu_spapr_tce_remove" {
        argsz: u32,
        flags: u32,
        start_addr: u64,
    }

    /// Error to inject.
    VfioEehPeErr = "vfio_eeh_pe_err" {
        r#type: u32,
        func: u32,
        addr: u64,
        mask: u64,
    }

    /// Request of `VFIO_EEH_PE_OP`.
    VfioEehPeOp = "vfio_eeh_pe_op" {
        argsz: u32,
        flags: u32,
        /// `VFIO_EEH_PE_*`,
        op: u32,
        err: VfioEehPeErr,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes the sPAPR IOMMU of a container.
    VFIO_IOMMU_SPAPR_TCE_GET_INFO = IO(VFIO_BASE + 12), VfioIommuSpaprTceInfo;
    /// Registers memory that windows may map.
    VFIO_IOMMU_SPAPR_REGISTER_MEMORY = IO(VFIO_BASE + 17), VfioIommuSpaprRegisterMemory;
    /// Ends a registration.
    VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY = IO(VFIO_BASE + 18), VfioIommuSpaprRegisterMemory;
    /// Creates a window.
    VFIO_IOMMU_SPAPR_TCE_CREATE = IO(VFIO_BASE + 19), VfioIommuSpaprTceCreate;
    /// Removes a window.
    VFIO_IOMMU_SPAPR_TCE_REMOVE = IO(VFIO_BASE + 20), VfioIommuSpaprTceRemove;
    /// Does an operation of error recovery.
    VFIO_EEH_PE_OP = IO(VFIO_BASE + 21), VfioEehPeOp;
}
