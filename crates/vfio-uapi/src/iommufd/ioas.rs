//! I/O address spaces: ranges, map, copy, unmap.

use super::{IOMMUFD_CMD_BASE, IOMMUFD_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    IOMMU_IOAS_MAP_FIXED_IOVA: u32 = 1 << 0, "The caller chooses the IOVA.";
    IOMMU_IOAS_MAP_WRITEABLE: u32 = 1 << 1, "The device may write.";
    IOMMU_IOAS_MAP_READABLE: u32 = 1 << 2, "The device may read.";
}

structs! {
    /// Request of `IOMMU_IOAS_ALLOC`.
    IommuIoasAlloc = "iommu_ioas_alloc" {
        size: u32,
        flags: u32,
        out_ioas_id: u32,
    }

    /// Range of IOVAs, both ends inclusive.
    IommuIovaRange = "iommu_iova_range" {
        start: u64,
        last: u64,
    }

    /// Request of `IOMMU_IOAS_IOVA_RANGES`.
    IommuIoasIovaRanges = "iommu_ioas_iova_ranges" {
        size: u32,
        ioas_id: u32,
        /// room for ranges; how many there are comes back,
        num_iovas: u32,
        __reserved: u32,
        /// address of the ranges,
        allowed_iovas: u64,
        out_iova_alignment: u64,
    }

    /// Request of `IOMMU_IOAS_ALLOW_IOVAS`.
    IommuIoasAllowIovas = "iommu_ioas_allow_iovas" {
        size: u32,
        ioas_id: u32,
        num_iovas: u32,
        __reserved: u32,
        /// address of the ranges,
        allowed_iovas: u64,
    }

    /// Request of `IOMMU_IOAS_MAP`.
    IommuIoasMap = "iommu_ioas_map" {
        size: u32,
        /// `IOMMU_IOAS_MAP_*`,
        flags: u32,
        ioas_id: u32,
        __reserved: u32,
        user_va: u64,
        length: u64,
        /// where the device sees it; chosen unless fixed,
        iova: u64,
    }

    /// Request of `IOMMU_IOAS_MAP_FILE`.
    IommuIoasMapFile = "iommu_ioas_map_file" {
        size: u32,
        /// `IOMMU_IOAS_MAP_*`,
        flags: u32,
        ioas_id: u32,
        fd: i32,
        /// where the memory starts in the file,
        start: u64,
        length: u64,
        /// where the device sees it; chosen unless fixed,
        iova: u64,
    }

    /// Request of `IOMMU_IOAS_COPY`.
    IommuIoasCopy = "iommu_ioas_copy" {
        size: u32,
        /// `IOMMU_IOAS_MAP_*`,
        flags: u32,
        dst_ioas_id: u32,
        src_ioas_id: u32,
        length: u64,
        dst_iova: u64,
        src_iova: u64,
    }

    /// Request of `IOMMU_IOAS_UNMAP`.
    IommuIoasUnmap = "iommu_ioas_unmap" {
        size: u32,
        ioas_id: u32,
        iova: u64,
        /// bytes; how many were unmapped comes back,
        length: u64,
    }

    /// Request of `IOMMU_IOAS_CHANGE_PROCESS`.
    IommuIoasChangeProcess = "iommu_ioas_change_process" {
        size: u32,
        __reserved: u32,
    }

    /// Request of `IOMMU_IOAS_NOIOMMU_GET_PA`.
    IommuIoasNoiommuGetPa = "iommu_ioas_noiommu_get_pa" {
        size: u32,
        flags: u32,
        ioas_id: u32,
        __reserved: u32,
        iova: u64,
        /// bytes asked for; how many are contiguous comes back,
        length: u64,
        out_phys: u64,
    }
}

ioctls! {
    IOMMUFD_TYPE;
    /// Makes an I/O address space.
    IOMMU_IOAS_ALLOC = IO(IOMMUFD_CMD_BASE + 1), IommuIoasAlloc;
    /// Restricts where IOVAs are chosen.
    IOMMU_IOAS_ALLOW_IOVAS = IO(IOMMUFD_CMD_BASE + 2), IommuIoasAllowIovas;
    /// Copies a mapping from one address space to another.
    IOMMU_IOAS_COPY = IO(IOMMUFD_CMD_BASE + 3), IommuIoasCopy;
    /// Lists the IOVAs that can be mapped.
    IOMMU_IOAS_IOVA_RANGES = IO(IOMMUFD_CMD_BASE + 4), IommuIoasIovaRanges;
    /// Maps memory of the process.
    IOMMU_IOAS_MAP = IO(IOMMUFD_CMD_BASE + 5), IommuIoasMap;
    /// Unmaps.
    IOMMU_IOAS_UNMAP = IO(IOMMUFD_CMD_BASE + 6), IommuIoasUnmap;
    /// Maps memory of a file.
    IOMMU_IOAS_MAP_FILE = IO(IOMMUFD_CMD_BASE + 15), IommuIoasMapFile;
    /// Moves the charge for locked memory to the calling process.
    IOMMU_IOAS_CHANGE_PROCESS = IO(IOMMUFD_CMD_BASE + 18), IommuIoasChangeProcess;
    /// Tells the physical address behind an IOVA of a device without an IOMMU.
    IOMMU_IOAS_NOIOMMU_GET_PA = IO(IOMMUFD_CMD_BASE + 21), IommuIoasNoiommuGetPa;
}
