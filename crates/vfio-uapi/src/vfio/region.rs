//! Regions: where they lie in the device file, what may be done to them, their capabilities.

use super::device::VfioInfoCapHeader;
use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_REGION_INFO_FLAG_READ: u32 = 1 << 0, "The region can be read.";
    VFIO_REGION_INFO_FLAG_WRITE: u32 = 1 << 1, "The region can be written.";
    VFIO_REGION_INFO_FLAG_MMAP: u32 = 1 << 2, "The region can be mapped.";
    VFIO_REGION_INFO_FLAG_CAPS: u32 = 1 << 3, "The info carries capabilities.";
    VFIO_REGION_INFO_CAP_SPARSE_MMAP: u32 = 1, "Region capability: only some areas can be mapped.";
    VFIO_REGION_INFO_CAP_TYPE: u32 = 2, "Region capability: type and subtype of a device-specific region.";
    VFIO_REGION_INFO_CAP_MSIX_MAPPABLE: u32 = 3, "Region capability: the MSI-X table may be mapped with the rest.";
    VFIO_REGION_INFO_CAP_NVLINK2_SSATGT: u32 = 4, "Region capability: NVLink2 target address.";
    VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD: u32 = 5, "Region capability: NVLink2 link speed.";
    VFIO_REGION_TYPE_PCI_VENDOR_TYPE: u32 = 1 << 31, "Region type: defined by the PCI vendor in the low bits.";
    VFIO_REGION_TYPE_PCI_VENDOR_MASK: u32 = 0xffff, "The bits that hold the PCI vendor.";
    VFIO_REGION_TYPE_GFX: u32 = 1, "Region type: graphics.";
    VFIO_REGION_TYPE_CCW: u32 = 2, "Region type: s390 channel device.";
    VFIO_REGION_TYPE_MIGRATION_DEPRECATED: u32 = 3, "Region type: the first migration interface, withdrawn.";
    VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION: u32 = 1, "Subtype of Intel's vendor type: the OpRegion.";
    VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG: u32 = 2, "Subtype of Intel's vendor type: the host bridge's configuration.";
    VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG: u32 = 3, "Subtype of Intel's vendor type: the LPC bridge's configuration.";
    VFIO_REGION_SUBTYPE_GFX_EDID: u32 = 1, "Subtype of the graphics type: the monitor's EDID.";
    VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD: u32 = 1, "Subtype of the channel type: asynchronous commands.";
    VFIO_REGION_SUBTYPE_CCW_SCHIB: u32 = 2, "Subtype of the channel type: the subchannel information block.";
    VFIO_REGION_SUBTYPE_CCW_CRW: u32 = 3, "Subtype of the channel type: channel report words.";
    VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED: u32 = 1, "Subtype of the withdrawn migration type.";
}

structs! {
    /// Request and answer of `VFIO_DEVICE_GET_REGION_INFO`.
    VfioRegionInfo = "vfio_region_info" {
        argsz: u32,
        /// `VFIO_REGION_INFO_FLAG_*`,
        flags: u32,
        index: u32,
        /// offset of the first capability,
        cap_offset: u32,
        /// bytes,
        size: u64,
        /// where the region starts in the device file,
        offset: u64,
    }

    /// Area that can be mapped.
    VfioRegionSparseMmapArea = "vfio_region_sparse_mmap_area" {
        /// from the start of the region,
        offset: u64,
        /// bytes,
        size: u64,
    }

    /// Capability `SPARSE_MMAP` of a region; `nr_areas` areas follow.
    VfioRegionInfoCapSparseMmap = "vfio_region_info_cap_sparse_mmap" {
        header: VfioInfoCapHeader,
        nr_areas: u32,
        reserved: u32,
    }

    /// Capability `TYPE` of a region.
    VfioRegionInfoCapType = "vfio_region_info_cap_type" {
        header: VfioInfoCapHeader,
        /// `VFIO_REGION_TYPE_*`,
        r#type: u32,
        /// `VFIO_REGION_SUBTYPE_*`,
        subtype: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes a region.
    VFIO_DEVICE_GET_REGION_INFO = IO(VFIO_BASE + 8), VfioRegionInfo;
}
