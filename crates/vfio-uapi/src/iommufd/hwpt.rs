//! Hardware page tables: allocation, dirty tracking, invalidation, faults; what the hardware can do.

use super::{IOMMUFD_CMD_BASE, IOMMUFD_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    IOMMU_HWPT_ALLOC_NEST_PARENT: u32 = 1 << 0, "The page table can be a parent of nested ones.";
    IOMMU_HWPT_ALLOC_DIRTY_TRACKING: u32 = 1 << 1, "Devices that cannot track dirty pages are kept away.";
    IOMMU_HWPT_FAULT_ID_VALID: u32 = 1 << 2, "`fault_id` is meant.";
    IOMMU_HWPT_ALLOC_PASID: u32 = 1 << 3, "The page table can be attached to a PASID.";
    IOMMU_HWPT_DATA_NONE: u32 = 0, "No data of the hardware's own.";
    IOMMU_HWPT_DATA_VTD_S1: u32 = 1, "Data of an Intel first-stage table.";
    IOMMU_HWPT_DATA_ARM_SMMUV3: u32 = 2, "Data of an Arm SMMUv3 first-stage table.";
    IOMMU_HWPT_DATA_AMD_GUEST: u32 = 3, "Data of an AMD guest table.";
    IOMMU_HW_INFO_TYPE_NONE: u32 = 0, "Hardware that tells nothing about itself.";
    IOMMU_HW_INFO_TYPE_DEFAULT: u32 = 0, "Asks for the information the hardware prefers.";
    IOMMU_HW_INFO_TYPE_INTEL_VTD: u32 = 1, "Intel VT-d.";
    IOMMU_HW_INFO_TYPE_ARM_SMMUV3: u32 = 2, "Arm SMMUv3.";
    IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV: u32 = 3, "NVIDIA's command queue virtualisation.";
    IOMMU_HW_INFO_TYPE_AMD: u32 = 4, "AMD-Vi.";
    IOMMU_HW_INFO_FLAG_INPUT_TYPE: u32 = 1 << 0, "The caller says which information it wants.";
    IOMMU_HW_CAP_DIRTY_TRACKING: u64 = 1 << 0, "The hardware tracks dirty pages.";
    IOMMU_HW_CAP_PCI_PASID_EXEC: u64 = 1 << 1, "PASIDs can carry execute permission.";
    IOMMU_HW_CAP_PCI_PASID_PRIV: u64 = 1 << 2, "PASIDs can carry privileged mode.";
    IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: u64 = 1 << 3, "The device cannot translate addresses itself.";
    IOMMU_HWPT_DIRTY_TRACKING_ENABLE: u32 = 1 << 0, "Switches dirty tracking on.";
    IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: u32 = 1 << 0, "Reports dirty pages and keeps them dirty.";
    IOMMU_HWPT_INVALIDATE_DATA_VTD_S1: u32 = 0, "Invalidation entries of an Intel first-stage table.";
    IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3: u32 = 1, "Invalidation entries of an Arm SMMUv3.";
}

structs! {
    /// Request of `IOMMU_HWPT_ALLOC`.
    IommuHwptAlloc = "iommu_hwpt_alloc" {
        size: u32,
        /// `IOMMU_HWPT_ALLOC_*`,
        flags: u32,
        dev_id: u32,
        /// id of an IOAS, a parent page table or a virtual IOMMU,
        pt_id: u32,
        out_hwpt_id: u32,
        __reserved: u32,
        /// `IOMMU_HWPT_DATA_*`,
        data_type: u32,
        data_len: u32,
        data_uptr: u64,
        fault_id: u32,
        __reserved2: u32,
    }

    /// Request of `IOMMU_GET_HW_INFO`.
    IommuHwInfo = "iommu_hw_info" {
        size: u32,
        /// `IOMMU_HW_INFO_FLAG_*`,
        flags: u32,
        dev_id: u32,
        data_len: u32,
        data_uptr: u64,
        /// `IOMMU_HW_INFO_TYPE_*`; with `INPUT_TYPE` also what is asked for,
        out_data_type: u32,
        out_max_pasid_log2: u8,
        __reserved: [u8; 3],
        /// `IOMMU_HW_CAP_*`,
        out_capabilities: u64,
    }

    /// Request of `IOMMU_HWPT_SET_DIRTY_TRACKING`.
    IommuHwptSetDirtyTracking = "iommu_hwpt_set_dirty_tracking" {
        size: u32,
        /// `IOMMU_HWPT_DIRTY_TRACKING_*`,
        flags: u32,
        hwpt_id: u32,
        __reserved: u32,
    }

    /// Request of `IOMMU_HWPT_GET_DIRTY_BITMAP`.
    IommuHwptGetDirtyBitmap = "iommu_hwpt_get_dirty_bitmap" {
        size: u32,
        hwpt_id: u32,
        /// `IOMMU_HWPT_GET_DIRTY_BITMAP_*`,
        flags: u32,
        __reserved: u32,
        iova: u64,
        length: u64,
        /// bytes per bit,
        page_size: u64,
        /// address of the bitmap,
        data: u64,
    }

    /// Request of `IOMMU_HWPT_INVALIDATE`.
    IommuHwptInvalidate = "iommu_hwpt_invalidate" {
        size: u32,
        hwpt_id: u32,
        data_uptr: u64,
        data_type: u32,
        entry_len: u32,
        /// entries; how many were handled comes back,
        entry_num: u32,
        __reserved: u32,
    }

    /// Request of `IOMMU_FAULT_QUEUE_ALLOC`.
    IommuFaultAlloc = "iommu_fault_alloc" {
        size: u32,
        flags: u32,
        out_fault_id: u32,
        out_fault_fd: u32,
    }
}

ioctls! {
    IOMMUFD_TYPE;
    /// Makes a page table for a device.
    IOMMU_HWPT_ALLOC = IO(IOMMUFD_CMD_BASE + 9), IommuHwptAlloc;
    /// Describes the IOMMU of a device.
    IOMMU_GET_HW_INFO = IO(IOMMUFD_CMD_BASE + 10), IommuHwInfo;
    /// Switches dirty tracking of a page table.
    IOMMU_HWPT_SET_DIRTY_TRACKING = IO(IOMMUFD_CMD_BASE + 11), IommuHwptSetDirtyTracking;
    /// Reports the dirty pages of a page table.
    IOMMU_HWPT_GET_DIRTY_BITMAP = IO(IOMMUFD_CMD_BASE + 12), IommuHwptGetDirtyBitmap;
    /// Invalidates cached translations of a nested page table.
    IOMMU_HWPT_INVALIDATE = IO(IOMMUFD_CMD_BASE + 13), IommuHwptInvalidate;
    /// Makes a queue of I/O page faults.
    IOMMU_FAULT_QUEUE_ALLOC = IO(IOMMUFD_CMD_BASE + 14), IommuFaultAlloc;
}
