//! The way from the root to a leaf.

// UNSAFETY: follows entries to nodes that only the reader's epoch keeps alive.
#![expect(unsafe_code, reason = "follows tagged addresses")]

use super::entry::{Entry, FANOUT, PAGE_BITS, level_bits};
use super::node::{Bucket, Found, Node, Table};

/// What a walk ends at, and the table it passed that the next one is likely to need.
#[derive(Default)]
pub(super) struct Walked<'a> {
    pub(super) found: Option<Found>,
    /// The table of 2 MiB slots.
    pub(super) upper: Option<&'a Table>,
}

/// Looks `iova` up, from the entry that the root holds.
///
/// # Safety
/// The caller loaded `root` inside an epoch and stays there while it uses the answer.
pub(super) unsafe fn walk<'a>(root: Entry, iova: u64) -> Walked<'a> {
    let mut walked = Walked::default();
    let mut entry = root;
    if entry.is_table() {
        let mut bits = level_bits(entry.level());
        if iova >> bits >= FANOUT as u64 {
            return walked;
        }
        loop {
            // SAFETY: the entry links to a table, which the caller's promise keeps alive.
            let table = unsafe { Table::at(entry.address()) };
            entry = table.entry((iova >> bits) as usize);
            if bits == level_bits(1) {
                walked.upper = Some(table);
            }
            if !entry.is_table() {
                break;
            }
            bits -= level_bits(1) - PAGE_BITS;
        }
        if entry.is_leaf() {
            walked.found = Some(Found::leaf(entry, iova, bits));
            return walked;
        }
    }
    if entry.is_bucket() {
        // SAFETY: the entry links to a bucket, which the caller's promise keeps alive.
        walked.found = unsafe { Bucket::at(entry.address()) }.find(iova);
    }
    walked
}
