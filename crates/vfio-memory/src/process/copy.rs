//! Copies between this process and another.

// UNSAFETY: the calls take addresses: of a slice here, and there of whatever the other process has.
#![expect(unsafe_code, reason = "no library has process_vm_readv")]

use std::ffi::c_void;

use vfio_uapi::Errno;

/// Copies `into.len()` bytes from `address` of the process.
///
/// # Errors
/// `EFAULT` not all of them are there.
pub(super) fn read(pid: i32, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    if into.is_empty() {
        return Ok(());
    }
    let (local, remote) = pair(into.as_mut_ptr(), address, into.len())?;
    // SAFETY: the local vector is a slice that is exclusive to us; the remote one is checked by the system.
    let done = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    complete(done, into.len())
}

/// Copies all of `from` to `address` of the process.
///
/// # Errors
/// `EFAULT` not all of it has a place there.
pub(super) fn write(pid: i32, address: u64, from: &[u8]) -> Result<(), Errno> {
    if from.is_empty() {
        return Ok(());
    }
    let (local, remote) = pair(from.as_ptr().cast_mut(), address, from.len())?;
    // SAFETY: the local vector is only read; the remote one is checked by the system.
    let done = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    complete(done, from.len())
}

fn pair(here: *mut u8, there: u64, len: usize) -> Result<(libc::iovec, libc::iovec), Errno> {
    let there = usize::try_from(there).map_err(|_| Errno::EFAULT)?;
    let remote = std::ptr::without_provenance_mut::<c_void>(there);
    let vector = |iov_base| libc::iovec { iov_base, iov_len: len };
    Ok((vector(here.cast()), vector(remote)))
}

fn complete(done: isize, len: usize) -> Result<(), Errno> {
    if usize::try_from(done).is_ok_and(|done| done == len) { Ok(()) } else { Err(Errno::EFAULT) }
}
