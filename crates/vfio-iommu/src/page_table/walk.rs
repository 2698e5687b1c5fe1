//! The way from the root to a leaf.

// UNSAFETY: follows entries to nodes that only the reader's epoch keeps alive.
#![expect(unsafe_code, reason = "follows tagged addresses")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Entry, PAGE_BITS, level_bits};
use super::node::{Bucket, Found, Node, Table};

/// What a walk ends at.
pub(super) struct Walked<'a> {
    pub(super) found: Option<Found>,
    /// The page-level table on the way, if there is one: the next page is likely in it.
    pub(super) pages: Option<&'a Table>,
}

/// Looks `iova` up from the root.
///
/// # Safety
/// The caller is inside an epoch and stays there while it uses the answer, or holds the writer's lock.
#[inline]
pub(super) unsafe fn walk<'a>(root: &AtomicU64, iova: u64) -> Walked<'a> {
    let mut entry = Entry(root.load(Ordering::Acquire));
    let mut pages = None;
    if entry.is_table() {
        let mut bits = level_bits(entry.level());
        if iova >> bits >> (level_bits(1) - PAGE_BITS) != 0 {
            return Walked { found: None, pages };
        }
        loop {
            // SAFETY: the entry links to a table, which the caller's promise keeps alive.
            let table = unsafe { Table::at(entry.address()) };
            entry = table.entry((iova >> bits) as usize);
            if !entry.is_table() {
                pages = (bits == PAGE_BITS).then_some(table);
                break;
            }
            bits -= level_bits(1) - PAGE_BITS;
        }
        if entry.is_leaf() {
            let span = (1 << bits) - 1;
            let offset = iova & span;
            return Walked { found: Some(Found { entry, offset, extent: span - offset }), pages };
        }
    }
    if entry.is_bucket() {
        // SAFETY: the entry links to a bucket, which the caller's promise keeps alive.
        return Walked { found: unsafe { Bucket::at(entry.address()) }.find(iova), pages };
    }
    Walked { found: None, pages }
}
