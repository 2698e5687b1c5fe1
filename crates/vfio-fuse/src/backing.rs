//! Files that stand behind mappings of our files: the kernel reaches their pages without us.

// UNSAFETY: two ioctls of `/dev/fuse` that no library knows.
#![expect(unsafe_code, reason = "speaks to the operating system")]

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};
use vfio_uapi::Errno;

use crate::errno::errno;

/// `FUSE_DEV_IOC_MAGIC`.
const MAGIC: u8 = 229;

/// `struct fuse_backing_map`.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

/// `FUSE_DEV_IOC_BACKING_OPEN`, which returns a number.
struct BackingOpen(BackingMap);

// SAFETY: the command reads a `struct fuse_backing_map` and writes nothing.
unsafe impl Ioctl for BackingOpen {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<BackingMap>(MAGIC, 1)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> io::Result<i32> {
        Ok(out)
    }
}

/// Registers a file.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` or without passthrough, `EBADF`, `EOPNOTSUPP` a file that cannot be mapped, `ELOOP` one of a
/// stacked file system, `ENOTTY` a kernel before 6.9.
pub(crate) fn open(fuse: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<i32, Errno> {
    let map = BackingMap { fd: file.as_fd().as_raw_fd(), flags: 0, padding: 0 };
    // SAFETY: `BackingOpen` describes the command truly.
    unsafe { ioctl(fuse, BackingOpen(map)) }.map_err(errno)
}

/// Forgets a file. Mappings and open files of it stay.
///
/// # Errors
/// `EPERM`, `ENOENT` there is no such.
pub(crate) fn close(fuse: BorrowedFd<'_>, id: i32) -> Result<(), Errno> {
    let id = u32::try_from(id).map_err(|_| Errno::ENOENT)?;
    // SAFETY: the command reads a `uint32_t` and writes nothing.
    unsafe { ioctl(fuse, Setter::<{ opcode::write::<u32>(MAGIC, 2) }, u32>::new(id)) }.map_err(errno)
}
