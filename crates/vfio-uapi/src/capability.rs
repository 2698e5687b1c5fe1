//! Capability chains: which capability ids an info structure may carry, and the layout behind each header.

use crate::layout::{StructInfo, UapiStruct};
use crate::vfio::{device, region, type1};

/// A trailing array of a capability.
#[derive(Clone, Copy, Debug)]
pub struct CapabilityArray {
    /// The C name of the array.
    pub name: &'static str,
    /// The member that counts its elements.
    pub counted_by: &'static str,
    /// The layout of one element.
    pub element: StructInfo,
}

/// A capability of an info structure.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// The C name of the info structure.
    pub of: &'static str,
    /// The id in the header.
    pub id: u32,
    /// The short name, such as `"SPARSE_MMAP"`.
    pub name: &'static str,
    /// The layout, header included, without a trailing array.
    pub layout: StructInfo,
    /// The array that follows, if any.
    pub array: Option<CapabilityArray>,
}

/// Lists every capability that has a layout.
pub const CAPABILITIES: &[Capability] = &[
    Capability {
        of: "vfio_iommu_type1_info",
        id: type1::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
        name: "IOVA_RANGE",
        layout: type1::VfioIommuType1InfoCapIovaRange::INFO,
        array: Some(CapabilityArray {
            name: "iova_ranges",
            counted_by: "nr_iovas",
            element: type1::VfioIovaRange::INFO,
        }),
    },
    Capability {
        of: "vfio_iommu_type1_info",
        id: type1::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
        name: "MIGRATION",
        layout: type1::VfioIommuType1InfoCapMigration::INFO,
        array: None,
    },
    Capability {
        of: "vfio_iommu_type1_info",
        id: type1::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
        name: "DMA_AVAIL",
        layout: type1::VfioIommuType1InfoDmaAvail::INFO,
        array: None,
    },
    Capability {
        of: "vfio_region_info",
        id: region::VFIO_REGION_INFO_CAP_SPARSE_MMAP,
        name: "SPARSE_MMAP",
        layout: region::VfioRegionInfoCapSparseMmap::INFO,
        array: Some(CapabilityArray {
            name: "areas",
            counted_by: "nr_areas",
            element: region::VfioRegionSparseMmapArea::INFO,
        }),
    },
    Capability {
        of: "vfio_region_info",
        id: region::VFIO_REGION_INFO_CAP_TYPE,
        name: "TYPE",
        layout: region::VfioRegionInfoCapType::INFO,
        array: None,
    },
    Capability {
        of: "vfio_region_info",
        id: region::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
        name: "MSIX_MAPPABLE",
        layout: device::VfioInfoCapHeader::INFO,
        array: None,
    },
    Capability {
        of: "vfio_device_info",
        id: device::VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
        name: "PCI_ATOMIC_COMP",
        layout: device::VfioDeviceInfoCapPciAtomicComp::INFO,
        array: None,
    },
];
