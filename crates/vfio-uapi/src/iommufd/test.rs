//! The kernel's self-test request `IOMMU_TEST_CMD`: a mock domain and accesses, so that an IOAS can be tested without devices.
//!
//! One request carries many operations; each has its own layout of the same 72 bytes.

use super::IOMMUFD_TYPE;
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    IOMMU_TEST_OP_ADD_RESERVED: u32 = 1, "Reserves IOVAs of an IOAS.";
    IOMMU_TEST_OP_MOCK_DOMAIN: u32 = 2, "Makes a mock device and attaches it.";
    IOMMU_TEST_OP_MD_CHECK_MAP: u32 = 3, "Compares what a page table maps with memory of the process.";
    IOMMU_TEST_OP_MD_CHECK_REFS: u32 = 4, "Counts the references of pages.";
    IOMMU_TEST_OP_CREATE_ACCESS: u32 = 5, "Makes an access.";
    IOMMU_TEST_OP_DESTROY_ACCESS_PAGES: u32 = 6, "Unpins pages of an access.";
    IOMMU_TEST_OP_ACCESS_PAGES: u32 = 7, "Pins pages of an access.";
    IOMMU_TEST_OP_ACCESS_RW: u32 = 8, "Copies between the process and an IOAS.";
    IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT: u32 = 9, "Limits the memory of the kernel's temporary lists.";
    IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE: u32 = 10, "Attaches a mock device to another page table.";
    IOMMU_TEST_OP_ACCESS_REPLACE_IOAS: u32 = 11, "Moves an access to another IOAS.";
    IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS: u32 = 12, "Makes a mock device with flags.";
    IOMMU_TEST_OP_DIRTY: u32 = 13, "Marks pages of a page table dirty.";
    IOMMU_TEST_OP_MD_CHECK_IOTLB: u32 = 14, "Compares an entry of a nested page table's mock cache.";
    IOMMU_TEST_OP_TRIGGER_IOPF: u32 = 15, "Has a mock device request a page.";
    IOMMU_TEST_OP_DEV_CHECK_CACHE: u32 = 16, "Compares an entry of a mock device's cache.";
    IOMMU_TEST_OP_TRIGGER_VEVENT: u32 = 17, "Has a mock device cause an event of its virtual IOMMU.";
    IOMMU_TEST_OP_PASID_ATTACH: u32 = 18, "Attaches a PASID of a mock device.";
    IOMMU_TEST_OP_PASID_REPLACE: u32 = 19, "Moves a PASID of a mock device.";
    IOMMU_TEST_OP_PASID_DETACH: u32 = 20, "Detaches a PASID of a mock device.";
    IOMMU_TEST_OP_PASID_CHECK_HWPT: u32 = 21, "Compares what a PASID of a mock device is attached to.";
    MOCK_FLAGS_DEVICE_PASID: u32 = 1 << 2, "The mock device has PASIDs.";
    MOCK_ACCESS_RW_SLOW_PATH: u32 = 1 << 2, "The copy goes page by page.";
    IOMMU_HWPT_DATA_SELFTEST: u32 = 0xdead, "Data of a mock page table.";
    IOMMU_HWPT_INVALIDATE_DATA_SELFTEST: u32 = 0xdead_beef, "Invalidation entries of a mock page table.";
    IOMMU_VIOMMU_TYPE_SELFTEST: u32 = 0xdead_beef, "A mock virtual IOMMU.";
    IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST: u32 = 0xdead_beef, "Invalidation entries of a mock virtual IOMMU.";
    IOMMU_VEVENTQ_TYPE_SELFTEST: u32 = 0xbeef_beef, "Events of a mock virtual IOMMU.";
    IOMMU_HW_QUEUE_TYPE_SELFTEST: u32 = 0xdead_beef, "A mock hardware queue.";
    MOCK_APERTURE_START: u32 = 0x0100_0000, "First IOVA of the mock domain.";
    MOCK_APERTURE_LAST: u32 = 0x7fff_ffff, "Last IOVA of the mock domain.";
    MOCK_PAGE_SIZE: u32 = 2048, "Page size of the mock domain.";
    MOCK_FLAGS_DEVICE_NO_DIRTY: u32 = 1 << 0, "The mock device cannot track dirty pages.";
    MOCK_ACCESS_RW_WRITE: u32 = 1 << 0, "The copy goes into the IOAS.";
    MOCK_FLAGS_ACCESS_WRITE: u32 = 1 << 0, "Pages are pinned for writing.";
    MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES: u32 = 1 << 0, "The access may pin.";
}

structs! {
    /// Operation `ADD_RESERVED`.
    TestAddReserved = "test_add_reserved" {
        size: u32, op: u32, id: u32, __reserved: u32,
        start: u64, length: u64, pad: [u64; 4], last: u32,
    }

    /// Operations `MOCK_DOMAIN` and `MOCK_DOMAIN_FLAGS`.
    TestMockDomain = "test_mock_domain" {
        size: u32, op: u32, id: u32, __reserved: u32,
        out_stdev_id: u32, out_hwpt_id: u32, out_idev_id: u32,
        /// `MOCK_FLAGS_DEVICE_*`,
        dev_flags: u32,
        pad: [u64; 4], last: u32,
    }

    /// Operation `MOCK_DOMAIN_REPLACE`.
    TestMockDomainReplace = "test_mock_domain_replace" {
        size: u32, op: u32, id: u32, __reserved: u32,
        pt_id: u32, pad0: u32, pad: [u64; 5], last: u32,
    }

    /// Operation `MD_CHECK_MAP`.
    TestCheckMap = "test_check_map" {
        size: u32, op: u32, id: u32, __reserved: u32,
        iova: u64, length: u64, uptr: u64, pad: [u64; 3], last: u32,
    }

    /// Operation `MD_CHECK_REFS`.
    TestCheckRefs = "test_check_refs" {
        size: u32, op: u32, id: u32, __reserved: u32,
        length: u64, uptr: u64, refs: u32, pad0: u32, pad: [u64; 3], last: u32,
    }

    /// Operation `CREATE_ACCESS`.
    TestCreateAccess = "test_create_access" {
        size: u32, op: u32, id: u32, __reserved: u32,
        out_access_fd: u32,
        /// `MOCK_FLAGS_ACCESS_CREATE_*`,
        flags: u32,
        pad: [u64; 5], last: u32,
    }

    /// Operation `DESTROY_ACCESS_PAGES`.
    TestDestroyAccessPages = "test_destroy_access_pages" {
        size: u32, op: u32, id: u32, __reserved: u32,
        access_pages_id: u32, pad0: u32, pad: [u64; 5], last: u32,
    }

    /// Operation `ACCESS_PAGES`.
    TestAccessPages = "test_access_pages" {
        size: u32, op: u32, id: u32, __reserved: u32,
        /// `MOCK_FLAGS_ACCESS_*`,
        flags: u32,
        out_access_pages_id: u32, iova: u64, length: u64, uptr: u64, pad: [u64; 2], last: u32,
    }

    /// Operation `ACCESS_RW`.
    TestAccessRw = "test_access_rw" {
        size: u32, op: u32, id: u32, __reserved: u32,
        iova: u64, length: u64, uptr: u64,
        /// `MOCK_ACCESS_RW_*`,
        flags: u32,
        pad0: u32, pad: [u64; 2], last: u32,
    }

    /// Operation `SET_TEMP_MEMORY_LIMIT`.
    TestMemoryLimit = "test_memory_limit" {
        size: u32, op: u32, id: u32, __reserved: u32,
        limit: u32, pad0: u32, pad: [u64; 5], last: u32,
    }

    /// Operation `ACCESS_REPLACE_IOAS`.
    TestAccessReplaceIoas = "test_access_replace_ioas" {
        size: u32, op: u32, id: u32, __reserved: u32,
        ioas_id: u32, pad0: u32, pad: [u64; 5], last: u32,
    }

    /// Operation `DIRTY`.
    TestDirty = "test_dirty" {
        size: u32, op: u32, id: u32, __reserved: u32,
        flags: u32, pad0: u32, iova: u64, length: u64, page_size: u64, uptr: u64, out_nr_dirty: u64, last: u32,
    }

    /// Operation `MD_CHECK_IOTLB`, and `DEV_CHECK_CACHE`, whose entry is one of a device.
    TestCheckCache = "test_check_cache" {
        size: u32, op: u32, id: u32, __reserved: u32,
        entry: u32, value: u32, pad: [u64; 5], last: u32,
    }

    /// Operation `TRIGGER_IOPF`.
    TestTriggerIopf = "test_trigger_iopf" {
        size: u32, op: u32, id: u32, __reserved: u32,
        dev_id: u32, pasid: u32, grpid: u32, perm: u32, addr: u64, pad: [u64; 3], last: u32,
    }

    /// Operation `TRIGGER_VEVENT`.
    TestTriggerVevent = "test_trigger_vevent" {
        size: u32, op: u32, id: u32, __reserved: u32,
        dev_id: u32, pad0: u32, pad: [u64; 5], last: u32,
    }

    /// Operations on PASIDs of a mock device.
    TestPasid = "test_pasid" {
        size: u32, op: u32, id: u32, __reserved: u32,
        pasid: u32,
        /// an address space or a page table,
        pt_id: u32,
        pad: [u64; 5], last: u32,
    }

    /// Data of a mock page table.
    IommuHwptSelftest = "iommu_hwpt_selftest" {
        /// what its cache is filled with,
        iotlb: u32,
        pagetable_type: u32,
    }

    /// An invalidation of a mock page table.
    IommuHwptInvalidateSelftest = "iommu_hwpt_invalidate_selftest" {
        /// bit 0: every entry,
        flags: u32,
        iotlb_id: u32,
    }

    /// Data of a mock virtual IOMMU.
    IommuViommuSelftest = "iommu_viommu_selftest" {
        in_data: u32,
        /// the same comes back,
        out_data: u32,
        out_mmap_offset: u64,
        out_mmap_length: u64,
    }

    /// An invalidation of a mock virtual IOMMU.
    IommuViommuInvalidateSelftest = "iommu_viommu_invalidate_selftest" {
        /// bit 0: every entry,
        flags: u32,
        vdev_id: u32,
        cache_id: u32,
    }
}

ioctls! {
    IOMMUFD_TYPE;
    /// Does a self-test operation.
    IOMMU_TEST_CMD = IO(0xa0), TestMockDomain;
}
