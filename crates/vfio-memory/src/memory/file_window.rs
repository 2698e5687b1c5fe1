//! Bytes of a file that others may cut: reached by system calls, because a mapping of it could turn an access into
//! `SIGBUS`.
//!
//! Slower than a mapping by a system call an access, and atomic only against accesses through the same object; so it
//! stands in only where the descriptor's size is not sealed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use rustix::io::{Errno as OsErrno, pread, pwrite};
use vfio_uapi::Errno;

/// Bytes written or read at once where no buffer of the caller's is at hand.
const CHUNK: usize = 16 << 10;

/// Owns a descriptor and knows which part of the file is meant.
pub(super) struct FileWindow {
    fd: OwnedFd,
    offset: u64,
    /// The file has a length, beyond which nothing is written; otherwise the system says where there is nothing.
    bounded: bool,
    /// Held by whoever reads and writes back.
    atomics: Mutex<()>,
}

impl FileWindow {
    pub(super) fn new(fd: OwnedFd, offset: u64) -> Self {
        Self { fd, offset, bounded: true, atomics: Mutex::new(()) }
    }

    /// All of a file without a length, such as another process' memory.
    pub(super) fn unbounded(fd: OwnedFd) -> Self {
        Self { fd, offset: 0, bounded: false, atomics: Mutex::new(()) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads all of `into`, or says `EFAULT`: the file ends before.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < into.len() {
            match pread(&self.fd, &mut into[done..], self.offset + at + done as u64) {
                Ok(0) => return Err(Errno::EFAULT),
                Ok(count) => done += count,
                Err(OsErrno::INTR) => {}
                Err(_) => return Err(Errno::EFAULT),
            }
        }
        Ok(())
    }

    /// Writes all of `from`, or says `EFAULT`: the file ends before. Never makes the file longer.
    pub(super) fn write(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        let start = self.offset + at;
        if self.bounded && start + from.len() as u64 > self.length() {
            return Err(Errno::EFAULT);
        }
        let mut done = 0;
        while done < from.len() {
            match pwrite(&self.fd, &from[done..], start + done as u64) {
                Ok(0) => return Err(Errno::EFAULT),
                Ok(count) => done += count,
                Err(OsErrno::INTR) => {}
                Err(_) => return Err(Errno::EFAULT),
            }
        }
        Ok(())
    }

    fn length(&self) -> u64 {
        rustix::fs::fstat(&self.fd).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
    }

    pub(super) fn fill(&self, at: u64, byte: u8, len: usize) -> Result<(), Errno> {
        let chunk = vec![byte; len.min(CHUNK)];
        let mut done = 0;
        while done < len {
            let part = (len - done).min(CHUNK);
            self.write(at + done as u64, &chunk[..part])?;
            done += part;
        }
        Ok(())
    }

    /// Reads `N` bytes, lets `change` make new ones of them (none: leave them), and returns what was there.
    pub(super) fn exchange<const N: usize>(
        &self,
        at: u64,
        change: impl FnOnce([u8; N]) -> Option<[u8; N]>,
    ) -> Result<[u8; N], Errno> {
        if !(self.offset + at).is_multiple_of(N as u64) {
            return Err(Errno::EINVAL);
        }
        let _alone = self.atomics.lock();
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        if let Some(new) = change(bytes) {
            self.write(at, &new)?;
        }
        Ok(bytes)
    }
}
