//! `VFIO_IOMMU_GET_INFO` and `VFIO_CHECK_EXTENSION`.

use vfio_uapi::vfio::container::{
    VFIO_DMA_CC_IOMMU, VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL, VFIO_UPDATE_VADDR,
};

use super::Type1;
use super::dirty::MAX_BITMAP_SIZE;
use crate::IovaRange;

/// Answers `VFIO_IOMMU_GET_INFO`. The capabilities go into the chain in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type1Info {
    /// One bit per page size that a mapping may use.
    pub pgsizes: u64,
    /// Capability `MIGRATION`.
    pub migration: MigrationInfo,
    /// Capability `DMA_AVAIL`: mappings that may still be made.
    pub dma_avail: u32,
    /// Capability `IOVA_RANGE`: what can be mapped; `None` before any hardware restricted it.
    pub iova_ranges: Option<Vec<IovaRange>>,
}

/// Describes dirty tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationInfo {
    /// None are defined.
    pub flags: u32,
    /// Page sizes that a dirty bitmap can have: the smallest one.
    pub pgsize_bitmap: u64,
    /// Size of the largest bitmap in bytes.
    pub max_dirty_bitmap_size: u64,
}

impl Type1 {
    /// Describes the IOMMU (`VFIO_IOMMU_GET_INFO`).
    #[must_use]
    pub fn info(&self) -> Type1Info {
        let state = self.0.state.read();
        let migration = MigrationInfo {
            flags: 0,
            pgsize_bitmap: state.page_size(),
            max_dirty_bitmap_size: MAX_BITMAP_SIZE,
        };
        Type1Info {
            pgsizes: state.pgsizes,
            migration,
            dma_avail: state.entries_left,
            iova_ranges: (!state.iovas.is_empty()).then(|| state.iovas.ranges().to_vec()),
        }
    }

    /// Answers `VFIO_CHECK_EXTENSION` once a model is chosen; 0 for what is unknown.
    #[must_use]
    pub fn check_extension(&self, extension: u32) -> u32 {
        let state = self.0.state.read();
        match extension {
            // Drivers of mediated devices could not pin while addresses are gone.
            VFIO_UPDATE_VADDR => state.emulated_groups.is_empty().into(),
            VFIO_DMA_CC_IOMMU => state.hw_groups.iter().all(|group| group.iommu.cache_coherency).into(),
            _ => Self::driver_extension(extension),
        }
    }

    /// Answers `VFIO_CHECK_EXTENSION` before a model is chosen; 0 for what is unknown or depends on groups.
    #[must_use]
    pub fn driver_extension(extension: u32) -> u32 {
        [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL].contains(&extension).into()
    }
}
