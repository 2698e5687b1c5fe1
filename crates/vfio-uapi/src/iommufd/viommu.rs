//! Virtual IOMMUs: the objects by which a guest drives the hardware's IOMMU.

use super::{IOMMUFD_CMD_BASE, IOMMUFD_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    IOMMU_VIOMMU_TYPE_DEFAULT: u32 = 0, "No kind of virtual IOMMU.";
    IOMMU_VIOMMU_TYPE_ARM_SMMUV3: u32 = 1, "A virtual Arm SMMUv3.";
    IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV: u32 = 2, "A virtual Arm SMMUv3 with NVIDIA's command queues.";
    IOMMU_VEVENTQ_TYPE_DEFAULT: u32 = 0, "No kind of event queue.";
    IOMMU_VEVENTQ_TYPE_ARM_SMMUV3: u32 = 1, "Events of a virtual Arm SMMUv3.";
    IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV: u32 = 2, "Events of NVIDIA's command queues.";
    IOMMU_VEVENTQ_FLAG_LOST_EVENTS: u32 = 1 << 0, "The queue overflowed.";
    IOMMU_HW_QUEUE_TYPE_DEFAULT: u32 = 0, "No kind of hardware queue.";
    IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV: u32 = 1, "One of NVIDIA's command queues.";
}

structs! {
    /// Request of `IOMMU_VIOMMU_ALLOC`.
    IommuViommuAlloc = "iommu_viommu_alloc" {
        size: u32,
        flags: u32,
        /// `IOMMU_VIOMMU_TYPE_*`,
        r#type: u32,
        dev_id: u32,
        /// id of a page table that can be a parent,
        hwpt_id: u32,
        out_viommu_id: u32,
        data_len: u32,
        __reserved: u32,
        data_uptr: u64,
    }

    /// Request of `IOMMU_VDEVICE_ALLOC`.
    IommuVdeviceAlloc = "iommu_vdevice_alloc" {
        size: u32,
        viommu_id: u32,
        dev_id: u32,
        out_vdevice_id: u32,
        /// the id by which the guest's IOMMU knows the device,
        virt_id: u64,
    }

    /// Request of `IOMMU_VEVENTQ_ALLOC`.
    IommuVeventqAlloc = "iommu_veventq_alloc" {
        size: u32,
        flags: u32,
        viommu_id: u32,
        /// `IOMMU_VEVENTQ_TYPE_*`,
        r#type: u32,
        veventq_depth: u32,
        out_veventq_id: u32,
        out_veventq_fd: u32,
        __reserved: u32,
    }

    /// Request of `IOMMU_HW_QUEUE_ALLOC`.
    IommuHwQueueAlloc = "iommu_hw_queue_alloc" {
        size: u32,
        flags: u32,
        viommu_id: u32,
        /// `IOMMU_HW_QUEUE_TYPE_*`,
        r#type: u32,
        index: u32,
        out_hw_queue_id: u32,
        nesting_parent_iova: u64,
        length: u64,
    }
}

ioctls! {
    IOMMUFD_TYPE;
    /// Makes a virtual IOMMU.
    IOMMU_VIOMMU_ALLOC = IO(IOMMUFD_CMD_BASE + 16), IommuViommuAlloc;
    /// Makes a device known to a virtual IOMMU.
    IOMMU_VDEVICE_ALLOC = IO(IOMMUFD_CMD_BASE + 17), IommuVdeviceAlloc;
    /// Makes a queue of a virtual IOMMU's events.
    IOMMU_VEVENTQ_ALLOC = IO(IOMMUFD_CMD_BASE + 19), IommuVeventqAlloc;
    /// Hands a hardware queue to a virtual IOMMU.
    IOMMU_HW_QUEUE_ALLOC = IO(IOMMUFD_CMD_BASE + 20), IommuHwQueueAlloc;
}
