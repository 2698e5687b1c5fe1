//! Parts of a BAR that are shared by descriptor (`VFIO_DEVICE_FEATURE_DMA_BUF`).

use std::fmt;
use std::sync::{Arc, Weak};

use vfio_memory::{Memory, PAGE_SIZE};
use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::VFIO_PCI_ROM_REGION_INDEX;

use super::session::Session;
use crate::ops::FeatureArgument;
use crate::pci::{BarKind, BarSpace};

/// Bytes of the fixed part of the request.
pub(super) const HEADER_SIZE: usize = 16;
/// Bytes of a range in the request.
const RANGE_SIZE: usize = 16;
/// Ranges that the kernel finds memory for.
const MOST_RANGES: usize = (4 << 20) / RANGE_SIZE;

/// Shares ranges of a BAR for as long as its device is open and answers.
pub struct DmaBuf {
    session: Weak<Session>,
    /// BAR that the ranges lie in.
    pub bar: u8,
    /// Flags with which the caller wants the descriptor opened (`O_CLOEXEC`).
    pub open_flags: u32,
    /// Offset and length of each range.
    pub ranges: Vec<(u64, u64)>,
}

impl DmaBuf {
    /// Tells whether the ranges are out of reach: the device is closed, sleeps, does not decode memory or is cut off by
    /// an error.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.session.upgrade().is_none_or(|session| !session.reachable())
    }

    /// Returns the memory behind the BAR, if there is any and it is not revoked.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let session = self.session.upgrade().filter(|session| session.reachable())?;
        match &session.function.bar(usize::from(self.bar))?.kind {
            BarKind::Memory(memory) => Some(memory.clone()),
            _ => None,
        }
    }
}

impl Session {
    fn reachable(&self) -> bool {
        self.memory_enabled() && !self.function.registers_stopped()
    }

    /// Shares what a request asks for.
    ///
    /// # Errors
    /// `EFAULT` the argument; `EINVAL` no ranges or flags; `ENODEV` no BAR; `ENOMEM` too many ranges; `EINVAL` a range is
    /// empty or not made of pages, or the sum wraps; `EINVAL` the BAR is not memory; `EOVERFLOW` or `EINVAL` beyond it.
    pub(super) fn dma_buf(&self, argument: &dyn FeatureArgument) -> Result<Arc<DmaBuf>, Errno> {
        let mut header = [0; HEADER_SIZE];
        argument.read(0, &mut header)?;
        let field =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (region, open_flags, flags, count) = (field(0), field(4), field(8), field(12) as usize);
        if count == 0 || flags != 0 {
            return Err(Errno::EINVAL);
        }
        if region >= VFIO_PCI_ROM_REGION_INDEX {
            return Err(Errno::ENODEV);
        }
        if count > MOST_RANGES {
            return Err(Errno::ENOMEM);
        }
        let mut bytes = vec![0; count * RANGE_SIZE];
        argument.read(HEADER_SIZE, &mut bytes)?;
        let ranges: Vec<(u64, u64)> = bytes
            .chunks_exact(RANGE_SIZE)
            .map(|range| {
                let (offset, len) = range.split_at(8);
                let word =
                    |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                (word(offset), word(len))
            })
            .collect();
        let mut total = 0u64;
        for (offset, len) in &ranges {
            if *len == 0 || offset % PAGE_SIZE != 0 || len % PAGE_SIZE != 0 {
                return Err(Errno::EINVAL);
            }
            total = total.checked_add(*len).ok_or(Errno::EINVAL)?;
        }
        if total >> 63 != 0 {
            return Err(Errno::EINVAL);
        }
        let bar = self.bar(region as usize).filter(|bar| bar.space != BarSpace::Io).ok_or(Errno::EINVAL)?;
        for (offset, len) in &ranges {
            let start = bar.start.checked_add(*offset).ok_or(Errno::EOVERFLOW)?;
            let end = start.checked_add(*len).ok_or(Errno::EOVERFLOW)?;
            if end > bar.start + bar.len {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Arc::new(DmaBuf { session: self.this.clone(), bar: region as u8, open_flags, ranges }))
    }
}

impl fmt::Debug for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaBuf")
            .field("bar", &self.bar)
            .field("ranges", &self.ranges)
            .field("revoked", &self.is_revoked())
            .finish_non_exhaustive()
    }
}
