//! The IOMMU: what it reaches, and mapping in both directions.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_DMA_MAP_FLAG_MAP: u32 = 1 << 0, "Maps; without it: unmaps.";
    VFIO_DMA_MAP_FLAG_READ: u32 = 1 << 1, "Devices may read.";
    VFIO_DMA_MAP_FLAG_WRITE: u32 = 1 << 2, "Devices may write.";
}

structs! {
    /// Answer of `VFIO_IOMMU_GET_INFO`.
    VfioIommuInfo = "vfio_iommu_info" {
        argsz: u32,
        /// none are defined,
        flags: u32,
        /// last address that can be mapped,
        iova_max: u64,
        /// first address that can be mapped,
        iova_min: u64,
        /// what addresses and sizes are multiples of,
        alignment: u64,
    }

    /// Request of `VFIO_IOMMU_MAP_DMA`.
    VfioDmaMap = "vfio_dma_map" {
        argsz: u32,
        /// `VFIO_DMA_MAP_FLAG_*`,
        flags: u32,
        /// address in the process,
        vaddr: u64,
        /// address that devices use,
        iova: u64,
        /// bytes,
        size: u64,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Tells what addresses can be mapped.
    VFIO_IOMMU_GET_INFO = IO(VFIO_BASE + 5), VfioIommuInfo;
    /// Maps or unmaps memory of the process.
    VFIO_IOMMU_MAP_DMA = IO(VFIO_BASE + 6), VfioDmaMap;
}
