//! The I/O page table: which host memory an IOVA leads to.
//!
//! A radix tree of 512 slots per table, from 4 KiB pages up to all 64 bits, that compares nothing on its way
//! down. Any slot can be a leaf, so memory that is contiguous and aligned takes one entry per 2 MiB, 1 GiB,
//! 512 GiB and so on; the root is only as high as the highest address needs; and a slot whose span holds but
//! a few ranges links to a bucket of them instead of a chain of tables.
//!
//! Readers take no lock ([`Reader`]); writers take turns ([`Editor`]). When an unmap has returned, no reader
//! is left that could reach what it took away, and the memory is not touched any more.
//!
//! * `entry`: the 64 bits of a slot. `node`: tables and buckets. `walk`: from the root to a leaf.
//! * `reader`, `cursor`: translate and copy inside an epoch. `space`: what a device makes of that.
//! * `edit`, `editor`: map and unmap under the lock.
//! * `extents`: keeps mapped memory objects alive. `garbage`: what waits for readers to leave.

// UNSAFETY: frees garbage after the epoch.
#![expect(unsafe_code, reason = "frees unlinked nodes")]

mod cursor;
mod edit;
mod editor;
mod entry;
mod extents;
mod garbage;
mod node;
mod reader;
mod space;
mod walk;

use std::fmt;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use vfio_memory::{HostSpan, Memory, Prot};
use vfio_uapi::Errno;

use crate::{Iova, IovaRange};
use edit::State;

pub use editor::Editor;
pub use reader::Reader;

/// Maps IOVAs to host memory for any number of readers at a time.
#[derive(Default)]
pub struct IoPageTable {
    root: AtomicU64,
    state: Mutex<State>,
}

impl IoPageTable {
    /// Makes a table with nothing mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts reading; see [`Reader`] for how long to keep it.
    #[inline]
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.root)
    }

    /// Starts a series of changes, which wait for readers once, at the end.
    #[must_use]
    pub fn edit(&self) -> Editor<'_> {
        Editor::new(self)
    }

    /// Maps `range` to the bytes of `memory` from `offset` on; readers see it when this returns.
    ///
    /// # Errors
    /// As for [`Editor::map`].
    pub fn map(&self, range: IovaRange, memory: &Memory, offset: u64, prot: Prot) -> Result<(), Errno> {
        self.edit().map(range, memory, offset, prot)
    }

    /// Maps the memory of `spans`, one after the other, from `iova` on.
    ///
    /// # Errors
    /// As for [`Editor::map`]; nothing is mapped then.
    pub fn map_spans(&self, iova: Iova, spans: &[HostSpan], prot: Prot) -> Result<(), Errno> {
        self.edit().map_spans(iova, spans, prot)
    }

    /// Unmaps whatever lies in `range`, cutting mappings that reach beyond it; returns how many bytes that
    /// was. No reader can reach them when this returns.
    ///
    /// # Errors
    /// `EINVAL` not page aligned.
    pub fn unmap(&self, range: IovaRange) -> Result<u64, Errno> {
        self.edit().unmap(range)
    }

    /// Returns the bytes that tables and buckets take.
    pub fn memory_usage(&self) -> usize {
        self.state.lock().bytes
    }
}

impl Drop for IoPageTable {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.remove(&self.root, 0, u64::MAX);
        // SAFETY: readers borrow the table, so there is none.
        unsafe { std::mem::take(&mut state.garbage).free() };
    }
}

impl fmt::Debug for IoPageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoPageTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
