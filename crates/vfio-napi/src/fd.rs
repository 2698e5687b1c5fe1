//! Descriptors that JavaScript passes by number.

// UNSAFETY: a number from outside names a descriptor only for as long as it takes to duplicate it.
#![expect(unsafe_code, reason = "borrows a descriptor by its number")]

use std::os::fd::{BorrowedFd, OwnedFd};

use vfio_uapi::Errno;

/// Duplicates the descriptor with that number.
///
/// # Errors
/// `EBADF` there is none; `EMFILE`.
pub(crate) fn duplicate(fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: not -1. The number is only passed to the system, which checks it, and not kept.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let code = |error: std::io::Error| error.raw_os_error().and_then(Errno::from_code);
    borrowed.try_clone_to_owned().map_err(|error| code(error).unwrap_or(Errno::EBADF))
}
