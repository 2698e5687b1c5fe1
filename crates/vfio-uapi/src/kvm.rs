//! `kvm.h`: as much of KVM as its VFIO device needs.

use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

/// The type byte of KVM's ioctls.
pub const KVMIO: u8 = 0xae;

constants! {
    KVM_API_VERSION: u32 = 12, "Version that `KVM_GET_API_VERSION` answers.";
    KVM_CAP_DEVICE_CTRL: u32 = 89, "Extension: devices can be created.";
    KVM_CREATE_DEVICE_TEST: u32 = 1, "Asks whether the device could be created.";
    KVM_DEV_TYPE_VFIO: u32 = 4, "Device type: the VFIO device.";
    KVM_DEV_VFIO_FILE: u32 = 1, "Attribute group: files.";
    KVM_DEV_VFIO_FILE_ADD: u32 = 1, "Attribute: adds a group's or device's file.";
    KVM_DEV_VFIO_FILE_DEL: u32 = 2, "Attribute: takes a file away.";
    KVM_DEV_VFIO_GROUP: u32 = 1, "Attribute group: groups, the older name of files.";
    KVM_DEV_VFIO_GROUP_ADD: u32 = 1, "Attribute: adds a group.";
    KVM_DEV_VFIO_GROUP_DEL: u32 = 2, "Attribute: takes a group away.";
    KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE: u32 = 3, "Attribute: gives a group a TCE table of the guest.";
}

structs! {
    /// Request of `KVM_CREATE_DEVICE`.
    KvmCreateDevice = "kvm_create_device" {
        /// `KVM_DEV_TYPE_*`,
        r#type: u32,
        /// file of the new device,
        fd: u32,
        /// `KVM_CREATE_DEVICE_*`,
        flags: u32,
    }

    /// Request of `KVM_{SET,GET,HAS}_DEVICE_ATTR`.
    KvmDeviceAttr = "kvm_device_attr" {
        flags: u32,
        group: u32,
        attr: u64,
        /// address of the attribute's data,
        addr: u64,
    }

    /// Data of `KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE`.
    KvmVfioSpaprTce = "kvm_vfio_spapr_tce" {
        groupfd: i32,
        tablefd: i32,
    }
}

ioctls! {
    KVMIO;
    /// Returns the version of the interface.
    KVM_GET_API_VERSION = IO(0x00);
    /// Makes a virtual machine.
    KVM_CREATE_VM = IO(0x01);
    /// Tells whether an extension is there.
    KVM_CHECK_EXTENSION = IO(0x03);
    /// Makes a device of a virtual machine.
    KVM_CREATE_DEVICE = IOWR(0xe0), KvmCreateDevice;
    /// Sets an attribute of a device.
    KVM_SET_DEVICE_ATTR = IOW(0xe1), KvmDeviceAttr;
    /// Reads an attribute of a device.
    KVM_GET_DEVICE_ATTR = IOW(0xe2), KvmDeviceAttr;
    /// Asks whether a device has an attribute.
    KVM_HAS_DEVICE_ATTR = IOW(0xe3), KvmDeviceAttr;
}
