//! KVM's files: requests to the operating system, as much as a virtual machine's VFIO device needs.

// UNSAFETY: `ioctl` takes a number, or the address of what the request's own structure is; only here are the two put
// together.
#![expect(unsafe_code, reason = "sends requests to the operating system")]

use std::ffi::{CString, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::from_mut;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use vfio_uapi::Errno;
use vfio_uapi::ioctl::Arch;
use vfio_uapi::kvm;

/// A file of KVM: `/dev/kvm`, a virtual machine, a device of one.
pub(super) struct KvmFile(OwnedFd);

/// A request with a number for its argument; what comes back is the call's value.
struct Plain {
    request: Opcode,
    argument: usize,
}

// SAFETY: the requests that are sent so take a number, and write nowhere.
unsafe impl Ioctl for Plain {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.argument)
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

/// A request with a structure for its argument, read and perhaps written by the kernel.
struct Structured<'a, T> {
    request: Opcode,
    argument: &'a mut T,
}

// SAFETY: `argument` is the structure that `request` is declared with, exclusively ours during the call.
unsafe impl<T> Ioctl for Structured<'_, T> {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut c_void {
        from_mut(self.argument).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

/// `struct kvm_create_device`.
#[repr(C)]
struct CreateDevice {
    kind: u32,
    fd: u32,
    flags: u32,
}

/// `struct kvm_device_attr`.
#[repr(C)]
struct DeviceAttr {
    flags: u32,
    group: u32,
    attr: u64,
    addr: u64,
}

/// What is done with an attribute.
#[derive(Clone, Copy)]
pub(super) enum Attribute {
    Set,
    Get,
    Has,
}

impl KvmFile {
    /// Opens a file such as `/dev/kvm`.
    ///
    /// # Errors
    /// What the system refuses with: `ENOENT`, `EACCES`, `ENODEV` …; `EINVAL` a NUL in the path.
    pub(super) fn open(path: &str) -> Result<Self, Errno> {
        let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
        open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map(Self).map_err(errno)
    }

    /// Returns the version of KVM's interface; a file that is not KVM's has none.
    ///
    /// # Errors
    /// `ENOTTY`, `EINVAL` the file is not KVM's.
    pub(super) fn api_version(&self) -> Result<i32, Errno> {
        self.plain(&kvm::KVM_GET_API_VERSION, 0)
    }

    /// Tells whether an extension is there, or how much of it.
    ///
    /// # Errors
    /// What the system refuses with.
    pub(super) fn check_extension(&self, extension: u32) -> Result<i32, Errno> {
        self.plain(&kvm::KVM_CHECK_EXTENSION, extension as usize)
    }

    /// Makes a virtual machine of the system's default kind.
    ///
    /// # Errors
    /// `ENOMEM`, `EMFILE`, and what the system refuses with.
    pub(super) fn create_machine(&self) -> Result<Self, Errno> {
        let fd = self.plain(&kvm::KVM_CREATE_VM, 0)?;
        // SAFETY: the call gave this descriptor to us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the VFIO device of a virtual machine, or only asks whether there are such devices. Attributes of others could
    /// be larger than what is kept for them here.
    ///
    /// # Errors
    /// `ENODEV` this KVM has no such devices, `EBUSY` there is one, and what the system refuses with.
    pub(super) fn create_vfio_device(&self, test: bool) -> Result<Option<Self>, Errno> {
        let flags = if test { kvm::KVM_CREATE_DEVICE_TEST } else { 0 };
        let mut asked = CreateDevice { kind: kvm::KVM_DEV_TYPE_VFIO, fd: 0, flags };
        self.structured(&kvm::KVM_CREATE_DEVICE, &mut asked)?;
        if test {
            return Ok(None);
        }
        let fd = i32::try_from(asked.fd).map_err(|_| Errno::EIO)?;
        // SAFETY: the call gave this descriptor to us.
        Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Sets, reads or asks for an attribute of a device; `data` is what it points to, absent: nowhere.
    ///
    /// # Errors
    /// `EFAULT` an attribute that needs data has none; `ENXIO` no such attribute, and what the device refuses with.
    pub(super) fn attribute(
        &self,
        what: Attribute,
        group: u32,
        attr: u64,
        data: Option<&mut [u8; ATTRIBUTE_SIZE]>,
    ) -> Result<i32, Errno> {
        let addr = data.map_or(0, |data| data.as_mut_ptr().expose_provenance() as u64);
        let mut asked = DeviceAttr { flags: 0, group, attr, addr };
        let request = match what {
            Attribute::Set => &kvm::KVM_SET_DEVICE_ATTR,
            Attribute::Get => &kvm::KVM_GET_DEVICE_ATTR,
            Attribute::Has => &kvm::KVM_HAS_DEVICE_ATTR,
        };
        self.structured(request, &mut asked)
    }

    fn plain(&self, request: &vfio_uapi::ioctl::Ioctl, argument: usize) -> Result<i32, Errno> {
        let call = Plain { request: opcode(request), argument };
        // SAFETY: the request takes a number.
        unsafe { ioctl(&self.0, call) }.map_err(errno)
    }

    fn structured<T>(&self, request: &vfio_uapi::ioctl::Ioctl, argument: &mut T) -> Result<i32, Errno> {
        debug_assert_eq!(request.argument.map(|info| info.size), Some(size_of::<T>()));
        let call = Structured { request: opcode(request), argument };
        // SAFETY: the request is declared with that structure; what its members point to lives through the call.
        unsafe { ioctl(&self.0, call) }.map_err(errno)
    }
}

/// Room for the data of any attribute of the VFIO device, and for what others might write.
pub(super) const ATTRIBUTE_SIZE: usize = 64;

const ARCH: Arch = if cfg!(target_arch = "powerpc64") { Arch::Ppc64 } else { Arch::X86 };

fn opcode(request: &vfio_uapi::ioctl::Ioctl) -> Opcode {
    Opcode::from(request.number(ARCH))
}

/// Translates a system error; the numbers are Linux's own here.
fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
}
