//! The IOMMU of a simulated machine where it presents itself as what it is: what it tells, and the data that it takes.
//!
//! Numbers and structures are this package's own; no kernel has them.

use crate::constant::constants;
use crate::ioctl::Ioctl;
use crate::layout::structs;

constants! {
    IOMMU_HW_INFO_TYPE_SOFTWARE: u32 = 0x5646_494f, "The IOMMU of a simulated machine.";
    IOMMU_HW_INFO_SOFTWARE_NESTING: u32 = 1 << 0, "Guests' page tables are walked.";
    IOMMU_HW_INFO_SOFTWARE_ACCESSED_DIRTY: u32 = 1 << 1, "The walk can note what was accessed and written.";
    IOMMU_HW_INFO_SOFTWARE_PAGE_REQUESTS: u32 = 1 << 2, "Devices ask for pages that are missing.";
    IOMMU_HWPT_DATA_SOFTWARE: u32 = 0x5646_494f, "Data of a guest's page table.";
    IOMMU_HWPT_SOFTWARE_ACCESSED_DIRTY: u32 = 1 << 0, "The walk notes what was accessed and written.";
    IOMMU_HWPT_INVALIDATE_DATA_SOFTWARE: u32 = 0x5646_494f, "Invalidation entries of a guest's page table.";
    IOMMU_VIOMMU_TYPE_SOFTWARE: u32 = 0x5646_494f, "A virtual IOMMU of a simulated machine.";
    IOMMU_VIOMMU_INVALIDATE_DATA_SOFTWARE: u32 = 0x5646_494f, "Commands of a virtual IOMMU.";
    IOMMU_VIOMMU_SOFTWARE_INVALIDATE_ALL: u32 = 1, "Command: forgets every translation of the virtual IOMMU.";
    IOMMU_VIOMMU_SOFTWARE_INVALIDATE_PAGES: u32 = 2, "Command: forgets translations of one device's PASID.";
    IOMMU_VIOMMU_SOFTWARE_SYNC: u32 = 3, "Command: writes a value to guest memory, after the commands before it.";
    IOMMU_SOFTWARE_ERROR_UNKNOWN: u32 = 1, "No such command, unknown flags, or a reserved member is set.";
    IOMMU_SOFTWARE_ERROR_NO_DEVICE: u32 = 2, "No device has that number.";
    IOMMU_SOFTWARE_ERROR_ADDRESS: u32 = 3, "The addresses make no sense.";
    IOMMU_SOFTWARE_ERROR_MEMORY: u32 = 4, "Memory that is needed is not there.";
    IOMMU_SOFTWARE_ERROR_INDEX: u32 = 5, "The producer index is too far ahead.";
    IOMMU_VEVENTQ_TYPE_SOFTWARE: u32 = 0x5646_494f, "Events of a virtual IOMMU of a simulated machine.";
    IOMMU_VEVENT_SOFTWARE_TRANSLATION: u32 = 1, "Event: a DMA was refused.";
    IOMMU_VEVENT_SOFTWARE_QUEUE: u32 = 2, "Event: a queue of commands stopped.";
    IOMMU_VEVENT_SOFTWARE_WRITE: u32 = 1 << 0, "The device wanted to write.";
    IOMMU_VEVENT_SOFTWARE_PASID: u32 = 1 << 1, "The DMA had a PASID.";
    IOMMU_HW_QUEUE_TYPE_SOFTWARE: u32 = 0x5646_494f, "A queue of commands.";
    IOMMU_HW_QUEUES_SOFTWARE: u32 = 4, "Queues of one virtual IOMMU.";
    IOMMU_PGFAULT_FLAGS_PASID_VALID: u32 = 1 << 0, "The PASID of a page request is meant.";
    IOMMU_PGFAULT_FLAGS_LAST_PAGE: u32 = 1 << 1, "The last page request of its group.";
    IOMMU_PGFAULT_PERM_READ: u32 = 1 << 0, "A page is requested for reading.";
    IOMMU_PGFAULT_PERM_WRITE: u32 = 1 << 1, "A page is requested for writing.";
    IOMMUFD_PAGE_RESP_SUCCESS: u32 = 0, "The pages are there.";
    IOMMUFD_PAGE_RESP_INVALID: u32 = 1, "The pages will not come.";
}

structs! {
    /// What `IOMMU_GET_HW_INFO` tells of the IOMMU of a simulated machine.
    IommuHwInfoSoftware = "iommu_hw_info_software" {
        /// `IOMMU_HW_INFO_SOFTWARE_*`,
        flags: u32,
        /// bit n: guests' page tables may have n levels,
        levels: u32,
        /// one bit per page size of guests' tables,
        page_sizes: u64,
        /// bits of a guest physical address,
        address_width: u32,
        /// command queues of one virtual IOMMU,
        hw_queues: u32,
    }

    /// A guest's page table, as `IOMMU_HWPT_ALLOC` takes it.
    IommuHwptSoftware = "iommu_hwpt_software" {
        /// guest physical address of the topmost page,
        root: u64,
        /// 3 to 5,
        levels: u32,
        /// `IOMMU_HWPT_SOFTWARE_*`,
        flags: u32,
    }

    /// An entry of `IOMMU_HWPT_INVALIDATE` for a guest's page table.
    IommuHwptInvalidateSoftware = "iommu_hwpt_invalidate_software" {
        /// first address; 0 with all pages,
        addr: u64,
        /// pages of 4 KiB; 2^64-1 stands for all,
        npages: u64,
        flags: u32,
        /// why it was not done comes back: `IOMMU_SOFTWARE_ERROR_*`,
        hw_error: u32,
    }

    /// What `IOMMU_VIOMMU_ALLOC` takes and tells.
    IommuViommuSoftware = "iommu_viommu_software" {
        flags: u32,
        __reserved: u32,
        /// where to map the registers of the command queues,
        out_mmap_offset: u64,
        out_mmap_length: u64,
    }

    /// A command of a virtual IOMMU: in a queue, or an entry of `IOMMU_HWPT_INVALIDATE`.
    IommuViommuSoftwareCommand = "iommu_viommu_software_command" {
        /// `IOMMU_VIOMMU_SOFTWARE_*`,
        opcode: u32,
        /// 0 is the device without one,
        pasid: u32,
        /// the guest's number of the device,
        virt_id: u64,
        /// first address, or where the value goes,
        addr: u64,
        /// pages of 4 KiB, or the value,
        count: u64,
    }

    /// An event of a virtual IOMMU, behind its header.
    IommuVeventSoftware = "iommu_vevent_software" {
        /// the guest's number of the device, or the index of the queue,
        virt_id: u64,
        /// where the DMA went, or where the command lies,
        addr: u64,
        /// `IOMMU_VEVENT_SOFTWARE_*`,
        kind: u32,
        /// 1 not present, 2 permission, 3 outside the table, 4 broken table, 5 no such guest memory; or `IOMMU_SOFTWARE_ERROR_*`,
        reason: u32,
        pasid: u32,
        /// `IOMMU_VEVENT_SOFTWARE_WRITE`, `IOMMU_VEVENT_SOFTWARE_PASID`,
        flags: u32,
    }

    /// A page request, as it is read from a fault queue.
    IommuHwptPgfault = "iommu_hwpt_pgfault" {
        /// `IOMMU_PGFAULT_FLAGS_*`,
        flags: u32,
        dev_id: u32,
        pasid: u32,
        grpid: u32,
        /// `IOMMU_PGFAULT_PERM_*`,
        perm: u32,
        __reserved: u32,
        addr: u64,
        length: u32,
        cookie: u32,
    }

    /// The answer to a group of page requests.
    IommuHwptPageResponse = "iommu_hwpt_page_response" {
        cookie: u32,
        /// `IOMMUFD_PAGE_RESP_*`,
        code: u32,
    }
}

/// Lists the requests of this module: none.
pub const IOCTLS: &[Ioctl] = &[];
