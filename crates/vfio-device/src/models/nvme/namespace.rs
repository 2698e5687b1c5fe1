//! The one namespace of a controller: blocks, and the memory that keeps them.

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::status::{Failure, Status};

/// Holds the blocks of a namespace.
#[derive(Debug, Clone)]
pub(super) struct Namespace {
    media: Memory,
    blocks: u64,
    shift: u32,
}

/// Names blocks that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// First byte.
    pub(super) start: u64,
    /// Bytes.
    pub(super) len: u64,
}

impl Namespace {
    /// Makes a namespace of as many whole blocks as fit the memory.
    ///
    /// # Errors
    /// `EINVAL` blocks of a size that is not 512 or 4096, or not one of them fits.
    pub(super) fn new(media: Memory, block_size: u32) -> Result<Self, Errno> {
        if !matches!(block_size, 512 | 4096) {
            return Err(Errno::EINVAL);
        }
        let shift = block_size.ilog2();
        let blocks = media.len() >> shift;
        if blocks == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self { media, blocks, shift })
    }

    /// Returns how many blocks there are.
    pub(super) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the exponent of the block size.
    pub(super) const fn shift(&self) -> u32 {
        self.shift
    }

    /// Tells whether blocks can be written.
    pub(super) fn is_writable(&self) -> bool {
        self.media.is_writable()
    }

    /// Finds blocks by number.
    ///
    /// # Errors
    /// Some of them do not exist.
    pub(super) fn extent(&self, first: u64, count: u64) -> Result<Extent, Status> {
        let end = first.checked_add(count).ok_or(Status::LBA_OUT_OF_RANGE)?;
        if end > self.blocks {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        Ok(Extent { start: first << self.shift, len: count << self.shift })
    }

    /// Reads from blocks.
    ///
    /// # Errors
    /// The memory is gone.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Failure> {
        self.media.read(at, into).map_err(|_| Status::UNRECOVERED_READ_ERROR.into())
    }

    /// Writes to blocks.
    ///
    /// # Errors
    /// The memory is gone.
    pub(super) fn write(&self, at: u64, from: &[u8]) -> Result<(), Failure> {
        self.media.write(at, from).map_err(|_| Status::WRITE_FAULT.into())
    }

    /// Fills blocks with zeros.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub(super) fn clear(&self, extent: Extent) -> Result<(), Failure> {
        self.media.fill(extent.start, 0, extent.len).map_err(|_| Status::WRITE_FAULT.into())
    }

    /// Tells whether bringing blocks to where they survive takes time.
    pub(super) fn is_flushed_slowly(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.media.fd().is_some();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Brings what was written to where it survives: the file behind the memory, if there is one.
    ///
    /// # Errors
    /// The file could not be written.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        #[cfg(target_os = "linux")]
        if let Some(file) = self.media.fd() {
            return rustix::fs::fsync(file).map_err(|_| Status::WRITE_FAULT.into());
        }
        Ok(())
    }
}
