//! Asking a file of ours which one it is.

// UNSAFETY: the request writes two numbers to the stack.
#![expect(unsafe_code, reason = "an ioctl of our own")]

use std::os::fd::{AsRawFd, BorrowedFd};

use vfio_uapi::Errno;

use super::own::IDENTIFY;

/// Returns handle and node of one of the machine's files, which `file` must be.
///
/// # Errors
/// `ENOTCONN` the file system has ended.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "asked where programs can be run"))]
pub(crate) fn identify(file: BorrowedFd<'_>) -> Result<[u64; 2], Errno> {
    let mut numbers = [0_u64; 2];
    // SAFETY: the request's size is that of the two numbers.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), IDENTIFY as _, numbers.as_mut_ptr()) };
    if done == 0 { Ok(numbers) } else { Err(Errno::ENOTCONN) }
}
