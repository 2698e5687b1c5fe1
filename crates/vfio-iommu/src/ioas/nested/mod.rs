//! A page table that a guest keeps in its own memory, on top of a parent that maps that memory (`IOMMUFD_OBJ_HWPT_NESTED`).
//!
//! A device's address is looked up in the guest's table, which gives a guest physical address; that is looked up in the
//! parent, which gives host memory. Entries are 64 bits, 512 to a table of 4 KiB, three to five levels:
//!
//! | bits | meaning |
//! |---|---|
//! | 0, 1 | reads, writes are allowed; with neither the entry leads nowhere. Every level has its say |
//! | 5, 6 | accessed, dirty: set by the walk if that was asked for |
//! | 7 | in the second and third level from below: a page of 2 MiB, of 1 GiB |
//! | 12–51 | guest physical address of the page, or of the next table |
//! | 52–62 | the guest's own |
//! | 2–4, 8–11, 63 | must be 0 |
//!
//! Translations are remembered until they are invalidated, right or wrong; those of the parent are looked up each time.
//!
//! * `format`: entries. `walk`: from the root to a leaf. `tlb`: what is remembered. `access`: a device's accesses.

mod access;
mod format;
mod tlb;
mod walk;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::Ioas;
use super::domain::PagingDomain;
use crate::{Iova, IovaRange};

pub use format::NestedFormat;

/// Bytes of the smallest page.
const PAGE: u64 = 4096;
/// Stands for "all pages" in an invalidation.
const ALL_PAGES: u64 = u64::MAX;

/// Leads devices through a guest's table and its parent.
pub struct NestedTable {
    format: NestedFormat,
    parent: Arc<PagingDomain>,
    /// Kept as long as the parent is: it is what the parent mirrors.
    _ioas: Ioas,
    tlb: Mutex<tlb::Tlb>,
}

impl NestedTable {
    /// Puts a guest's table on top of `parent`, which mirrors `ioas`. Nothing is looked at before a device needs it.
    #[must_use]
    pub fn new(format: NestedFormat, parent: &Arc<PagingDomain>, ioas: &Ioas) -> Arc<Self> {
        Arc::new(Self { format, parent: Arc::clone(parent), _ioas: ioas.clone(), tlb: Mutex::default() })
    }

    /// Forgets what is remembered of `npages` pages of 4 KiB from `iova` on; all of it where `npages` is 2^64-1 and
    /// `iova` 0.
    ///
    /// # Errors
    /// `EINVAL` not page aligned, all pages and an address, or the range wraps. Nothing is forgotten then.
    pub fn invalidate(&self, iova: Iova, npages: u64) -> Result<(), Errno> {
        if let Some(range) = invalidated(iova, npages)? {
            self.forget(range);
        }
        Ok(())
    }

    /// Forgets what is remembered of a range.
    pub(super) fn forget(&self, range: IovaRange) {
        self.tlb.lock().forget(range);
    }
}

/// Returns the range that an invalidation means; `None` is an empty one.
///
/// # Errors
/// `EINVAL` as for [`NestedTable::invalidate`].
pub(super) fn invalidated(iova: Iova, npages: u64) -> Result<Option<IovaRange>, Errno> {
    if npages == ALL_PAGES {
        return if iova == 0 { Ok(Some(IovaRange::ALL)) } else { Err(Errno::EINVAL) };
    }
    let len = npages.checked_mul(PAGE).ok_or(Errno::EINVAL)?;
    if !iova.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(None);
    }
    IovaRange::sized(iova, len).map(Some).ok_or(Errno::EINVAL)
}

impl fmt::Debug for NestedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedTable").field("format", &self.format).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
