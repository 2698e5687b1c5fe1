//! The descriptor of `/dev/fuse`: requests come out, answers and notices go in.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::io;
use vfio_uapi::Errno;

use crate::abi::OUT_HEADER;
use crate::errno::errno;

/// A connection to the kernel, until it is shut.
pub(crate) struct Channel(RwLock<Option<Arc<OwnedFd>>>);

impl Channel {
    /// Speaks over `fd`.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(RwLock::new(Some(Arc::new(fd))))
    }

    /// Lends the descriptor.
    ///
    /// # Errors
    /// `ENOTCONN` the connection was shut.
    pub(crate) fn fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        self.0.read().clone().ok_or(Errno::ENOTCONN)
    }

    /// Shuts the connection: whoever waits for an answer is refused, and every open file is dead.
    pub(crate) fn shut(&self) {
        drop(self.0.write().take());
    }

    /// Answers a request: with `error` 0 and what was asked for, or a negated errno.
    pub(crate) fn answer(&self, unique: u64, error: i32, parts: [&[u8]; 2]) -> Result<(), Errno> {
        let length = OUT_HEADER + parts[0].len() + parts[1].len();
        let mut header = [0; OUT_HEADER];
        header[..4].copy_from_slice(&u32::try_from(length).map_err(|_| Errno::E2BIG)?.to_ne_bytes());
        header[4..8].copy_from_slice(&error.to_ne_bytes());
        header[8..].copy_from_slice(&unique.to_ne_bytes());
        let message = [IoSlice::new(&header), IoSlice::new(parts[0]), IoSlice::new(parts[1])];
        io::writev(&*self.fd()?, &message).map_err(errno)?;
        Ok(())
    }
}
