//! The type1 IOMMU: info with its capabilities, map, unmap, dirty pages.

use super::device::VfioInfoCapHeader;
use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_IOMMU_INFO_PGSIZES: u32 = 1 << 0, "`iova_pgsizes` is valid.";
    VFIO_IOMMU_INFO_CAPS: u32 = 1 << 1, "The info carries capabilities.";
    VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: u32 = 1, "IOMMU capability: the IOVAs that can be mapped.";
    VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: u32 = 2, "IOMMU capability: dirty pages can be tracked.";
    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: u32 = 3, "IOMMU capability: how many more mappings there may be.";
    VFIO_DMA_MAP_FLAG_READ: u32 = 1 << 0, "The device may read.";
    VFIO_DMA_MAP_FLAG_WRITE: u32 = 1 << 1, "The device may write.";
    VFIO_DMA_MAP_FLAG_VADDR: u32 = 1 << 2, "Gives an existing mapping a new virtual address.";
    VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: u32 = 1 << 0, "Reports the dirty pages of what is unmapped.";
    VFIO_DMA_UNMAP_FLAG_ALL: u32 = 1 << 1, "Unmaps everything.";
    VFIO_DMA_UNMAP_FLAG_VADDR: u32 = 1 << 2, "Takes the virtual addresses away and leaves the mappings.";
    VFIO_IOMMU_DIRTY_PAGES_FLAG_START: u32 = 1 << 0, "Starts dirty tracking.";
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: u32 = 1 << 1, "Stops dirty tracking.";
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: u32 = 1 << 2, "Reports the dirty pages of a range.";
}

structs! {
    /// Answer of `VFIO_IOMMU_GET_INFO`.
    VfioIommuType1Info = "vfio_iommu_type1_info" {
        argsz: u32,
        /// `VFIO_IOMMU_INFO_*`,
        flags: u32,
        /// one bit per supported page size,
        iova_pgsizes: u64,
        /// offset of the first capability,
        cap_offset: u32,
        pad: u32,
    }

    /// Range of IOVAs, both ends inclusive.
    VfioIovaRange = "vfio_iova_range" {
        start: u64,
        end: u64,
    }

    /// Capability `IOVA_RANGE`; `nr_iovas` ranges follow.
    VfioIommuType1InfoCapIovaRange = "vfio_iommu_type1_info_cap_iova_range" {
        header: VfioInfoCapHeader,
        nr_iovas: u32,
        reserved: u32,
    }

    /// Capability `MIGRATION`.
    VfioIommuType1InfoCapMigration = "vfio_iommu_type1_info_cap_migration" {
        header: VfioInfoCapHeader,
        flags: u32,
        /// page sizes for dirty bitmaps,
        pgsize_bitmap: u64,
        /// bytes,
        max_dirty_bitmap_size: u64,
    }

    /// Capability `DMA_AVAIL`.
    VfioIommuType1InfoDmaAvail = "vfio_iommu_type1_info_dma_avail" {
        header: VfioInfoCapHeader,
        /// mappings that may still be made,
        avail: u32,
    }

    /// Request of `VFIO_IOMMU_MAP_DMA`.
    VfioIommuType1DmaMap = "vfio_iommu_type1_dma_map" {
        argsz: u32,
        /// `VFIO_DMA_MAP_FLAG_*`,
        flags: u32,
        /// where the memory lies in the process,
        vaddr: u64,
        /// where the device sees it,
        iova: u64,
        /// bytes,
        size: u64,
    }

    /// Bitmap with one bit per page.
    VfioBitmap = "vfio_bitmap" {
        /// bytes per bit,
        pgsize: u64,
        /// bytes of the bitmap,
        size: u64,
        /// address of the bitmap,
        data: u64,
    }

    /// Request of `VFIO_IOMMU_UNMAP_DMA`; a `vfio_bitmap` may follow.
    VfioIommuType1DmaUnmap = "vfio_iommu_type1_dma_unmap" {
        argsz: u32,
        /// `VFIO_DMA_UNMAP_FLAG_*`,
        flags: u32,
        iova: u64,
        /// bytes; how many were unmapped comes back,
        size: u64,
    }

    /// Request of `VFIO_IOMMU_DIRTY_PAGES`; a `vfio_iommu_type1_dirty_bitmap_get` may follow.
    VfioIommuType1DirtyBitmap = "vfio_iommu_type1_dirty_bitmap" {
        argsz: u32,
        /// one `VFIO_IOMMU_DIRTY_PAGES_FLAG_*`,
        flags: u32,
    }

    /// Range whose dirty pages are asked for; a `vfio_bitmap`, spelled out.
    VfioIommuType1DirtyBitmapGet = "vfio_iommu_type1_dirty_bitmap_get" {
        iova: u64,
        size: u64,
        /// bytes per bit,
        pgsize: u64,
        /// bytes of the bitmap,
        bitmap_size: u64,
        /// address of the bitmap,
        bitmap_data: u64,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes the IOMMU of a container.
    VFIO_IOMMU_GET_INFO = IO(VFIO_BASE + 12), VfioIommuType1Info;
    /// Maps memory of the process for DMA.
    VFIO_IOMMU_MAP_DMA = IO(VFIO_BASE + 13), VfioIommuType1DmaMap;
    /// Unmaps memory.
    VFIO_IOMMU_UNMAP_DMA = IO(VFIO_BASE + 14), VfioIommuType1DmaUnmap;
    /// Lets mappings be made (sPAPR).
    VFIO_IOMMU_ENABLE = IO(VFIO_BASE + 15);
    /// Lets no more mappings be made (sPAPR).
    VFIO_IOMMU_DISABLE = IO(VFIO_BASE + 16);
    /// Starts, stops or reports dirty tracking.
    VFIO_IOMMU_DIRTY_PAGES = IO(VFIO_BASE + 17), VfioIommuType1DirtyBitmap;
}
