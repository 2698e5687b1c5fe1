//! Devices: info, capability headers, binding to an iommufd, ioeventfds.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_DEVICE_FLAGS_RESET: u32 = 1 << 0, "The device can be reset.";
    VFIO_DEVICE_FLAGS_PCI: u32 = 1 << 1, "A vfio-pci device.";
    VFIO_DEVICE_FLAGS_PLATFORM: u32 = 1 << 2, "A vfio-platform device.";
    VFIO_DEVICE_FLAGS_AMBA: u32 = 1 << 3, "A vfio-amba device.";
    VFIO_DEVICE_FLAGS_CCW: u32 = 1 << 4, "A vfio-ccw device.";
    VFIO_DEVICE_FLAGS_AP: u32 = 1 << 5, "A vfio-ap device.";
    VFIO_DEVICE_FLAGS_FSL_MC: u32 = 1 << 6, "A vfio-fsl-mc device.";
    VFIO_DEVICE_FLAGS_CAPS: u32 = 1 << 7, "The info carries capabilities.";
    VFIO_DEVICE_FLAGS_CDX: u32 = 1 << 8, "A vfio-cdx device.";
    VFIO_DEVICE_API_PCI_STRING: str = "vfio-pci", "Device API of PCI devices, as the mdev attribute `device_api` says it.";
    VFIO_DEVICE_API_PLATFORM_STRING: str = "vfio-platform", "Device API of platform devices.";
    VFIO_DEVICE_API_AMBA_STRING: str = "vfio-amba", "Device API of AMBA devices.";
    VFIO_DEVICE_API_CCW_STRING: str = "vfio-ccw", "Device API of s390 channel devices.";
    VFIO_DEVICE_API_AP_STRING: str = "vfio-ap", "Device API of s390 adjunct processors.";
    VFIO_DEVICE_INFO_CAP_ZPCI_BASE: u32 = 1, "Device capability: s390 PCI function.";
    VFIO_DEVICE_INFO_CAP_ZPCI_GROUP: u32 = 2, "Device capability: s390 PCI function group.";
    VFIO_DEVICE_INFO_CAP_ZPCI_UTIL: u32 = 3, "Device capability: s390 utility string.";
    VFIO_DEVICE_INFO_CAP_ZPCI_PFIP: u32 = 4, "Device capability: s390 PCI function path.";
    VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP: u32 = 5, "Device capability: atomic operations that the root complex completes.";
    VFIO_PCI_ATOMIC_COMP32: u32 = 1 << 0, "32-bit atomic operations complete.";
    VFIO_PCI_ATOMIC_COMP64: u32 = 1 << 1, "64-bit atomic operations complete.";
    VFIO_PCI_ATOMIC_COMP128: u32 = 1 << 2, "128-bit compare-and-swap completes.";
    VFIO_DEVICE_BIND_FLAG_TOKEN: u32 = 1 << 0, "`token_uuid_ptr` holds the address of a VF token.";
    VFIO_DEVICE_ATTACH_PASID: u32 = 1 << 0, "`pasid` of an attach is meant.";
    VFIO_DEVICE_DETACH_PASID: u32 = 1 << 0, "`pasid` of a detach is meant.";
    VFIO_DEVICE_IOEVENTFD_8: u32 = 1 << 0, "The eventfd causes a write of 1 byte.";
    VFIO_DEVICE_IOEVENTFD_16: u32 = 1 << 1, "The eventfd causes a write of 2 bytes.";
    VFIO_DEVICE_IOEVENTFD_32: u32 = 1 << 2, "The eventfd causes a write of 4 bytes.";
    VFIO_DEVICE_IOEVENTFD_64: u32 = 1 << 3, "The eventfd causes a write of 8 bytes.";
    VFIO_DEVICE_IOEVENTFD_SIZE_MASK: u32 = 0xf, "The bits that say how wide the write is.";
}

structs! {
    /// Head of every capability in an info structure's chain.
    VfioInfoCapHeader = "vfio_info_cap_header" {
        /// which capability,
        id: u16,
        /// version of its layout,
        version: u16,
        /// offset of the next one from the start of the info structure; 0 ends the chain,
        next: u32,
    }

    /// Answer of `VFIO_DEVICE_GET_INFO`.
    VfioDeviceInfo = "vfio_device_info" {
        /// size of the structure as the caller knows it,
        argsz: u32,
        /// `VFIO_DEVICE_FLAGS_*`,
        flags: u32,
        /// highest region index plus one,
        num_regions: u32,
        /// highest interrupt index plus one,
        num_irqs: u32,
        /// offset of the first capability,
        cap_offset: u32,
        pad: u32,
    }

    /// Capability `PCI_ATOMIC_COMP` of a device.
    VfioDeviceInfoCapPciAtomicComp = "vfio_device_info_cap_pci_atomic_comp" {
        header: VfioInfoCapHeader,
        /// `VFIO_PCI_ATOMIC_COMP*`,
        flags: u32,
        reserved: u32,
    }

    /// Request of `VFIO_DEVICE_BIND_IOMMUFD`.
    VfioDeviceBindIommufd = "vfio_device_bind_iommufd" {
        argsz: u32,
        /// `VFIO_DEVICE_BIND_FLAG_*`,
        flags: u32,
        iommufd: i32,
        /// id of the device within the iommufd,
        out_devid: u32,
        /// address of a 16-byte token,
        token_uuid_ptr: u64,
    }

    /// Request of `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
    VfioDeviceAttachIommufdPt = "vfio_device_attach_iommufd_pt" {
        argsz: u32,
        /// `VFIO_DEVICE_ATTACH_*`,
        flags: u32,
        /// id of an IOAS or page table; the page table in use comes back,
        pt_id: u32,
        pasid: u32,
    }

    /// Request of `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
    VfioDeviceDetachIommufdPt = "vfio_device_detach_iommufd_pt" {
        argsz: u32,
        /// `VFIO_DEVICE_DETACH_*`,
        flags: u32,
        pasid: u32,
    }

    /// Request of `VFIO_DEVICE_IOEVENTFD`.
    VfioDeviceIoeventfd = "vfio_device_ioeventfd" {
        argsz: u32,
        /// `VFIO_DEVICE_IOEVENTFD_*`,
        flags: u32,
        /// where in the device file the write goes,
        offset: u64,
        /// what is written,
        data: u64,
        /// the eventfd, or -1 to take it away,
        fd: i32,
        reserved: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes a device.
    VFIO_DEVICE_GET_INFO = IO(VFIO_BASE + 7), VfioDeviceInfo;
    /// Resets a device.
    VFIO_DEVICE_RESET = IO(VFIO_BASE + 11);
    /// Has an eventfd cause a register write.
    VFIO_DEVICE_IOEVENTFD = IO(VFIO_BASE + 16), VfioDeviceIoeventfd;
    /// Binds a device file to an iommufd.
    VFIO_DEVICE_BIND_IOMMUFD = IO(VFIO_BASE + 18), VfioDeviceBindIommufd;
    /// Attaches a bound device to an IOAS or page table.
    VFIO_DEVICE_ATTACH_IOMMUFD_PT = IO(VFIO_BASE + 19), VfioDeviceAttachIommufdPt;
    /// Detaches a bound device.
    VFIO_DEVICE_DETACH_IOMMUFD_PT = IO(VFIO_BASE + 20), VfioDeviceDetachIommufdPt;
}
