//! One area: a range of IOVAs that shows a part of some pages.

use std::ops::Range;
use std::sync::Arc;

use vfio_memory::{HostSpan, PAGE_SHIFT, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::pages::{Pages, clip};
use crate::{Iova, IovaRange};

/// Shows `range.size()` bytes of pages, from `start_byte` on.
pub(super) struct Area {
    pub(super) range: IovaRange,
    pub(super) pages: Arc<Pages>,
    pub(super) start_byte: u64,
    pub(super) prot: Prot,
    /// Pinned for the domains of the space.
    pub(super) filled: bool,
    /// Pages that accesses have pinned, each as often as it was.
    pub(super) accesses: u64,
    /// Pages of them whose access does not let go.
    pub(super) locks: u64,
    /// It is being unmapped: nobody may begin to use it.
    pub(super) closing: bool,
}

impl Area {
    /// Returns which byte of the pages lies at `iova`.
    pub(super) fn byte_at(&self, iova: Iova) -> u64 {
        self.start_byte + (iova - self.range.start())
    }

    /// Returns the numbers of the pages that a part of the area touches.
    pub(super) fn pages_of(&self, part: IovaRange) -> Range<u64> {
        self.byte_at(part.start()) >> PAGE_SHIFT..(self.byte_at(part.last()) >> PAGE_SHIFT) + 1
    }

    /// Pins the area for domains, unless that was done.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL` memory that is not there; `ENOMEM` over the limit.
    pub(super) fn pin(&mut self) -> Result<Vec<HostSpan>, Errno> {
        let pages = self.pages_of(self.range);
        let spans = if self.filled { self.pages.pinned(pages) } else { self.pages.pin(pages)? };
        self.filled = true;
        Ok(clip(spans, self.start_byte % PAGE_SIZE, self.range.size()))
    }

    /// Gives the pins of domains back.
    pub(super) fn unpin(&mut self) {
        if std::mem::take(&mut self.filled) {
            self.pages.unpin(self.pages_of(self.range));
        }
    }

    /// Tells whether all that decides where pages begin lies on multiples of `unit`.
    pub(super) fn is_aligned(&self, unit: u64) -> bool {
        (self.range.start() | self.range.size() | (self.start_byte % PAGE_SIZE)) & (unit - 1) == 0
    }

    /// Cuts the area behind `last`; returns the upper part.
    pub(super) fn split_off(&mut self, last: Iova) -> Self {
        let upper = IovaRange::new(last + 1, self.range.last()).expect("the cut lies inside");
        let start_byte = self.byte_at(upper.start());
        self.range = IovaRange::new(self.range.start(), last).expect("the cut lies inside");
        Self {
            range: upper,
            pages: Arc::clone(&self.pages),
            start_byte,
            prot: self.prot,
            filled: self.filled,
            accesses: 0,
            locks: 0,
            closing: false,
        }
    }
}
