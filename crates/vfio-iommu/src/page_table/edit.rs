//! The writer's side: putting ranges into slots and taking them out.
//!
//! Everything here runs under the table's lock. Entries are stored with release ordering, so a reader that
//! sees one sees the node behind it complete. Nothing that was reachable is freed here: it goes to the
//! [`Garbage`], whose owner waits for the readers.

// UNSAFETY: follows entries to nodes; the lock keeps them alive.
#![expect(unsafe_code, reason = "follows tagged addresses")]

mod insert;
mod remove;

use std::sync::atomic::{AtomicU64, Ordering};

use vfio_uapi::Errno;

use super::entry::{Entry, ROOT_BITS, TOP_LEVEL};
use super::extents::Extents;
use super::garbage::{Garbage, Retired};
use super::node::{Bucket, Detachable, Node, Table};

/// What the lock guards.
#[derive(Default)]
pub(super) struct State {
    pub(super) extents: Extents,
    pub(super) garbage: Garbage,
    /// Bytes of nodes in use or waiting to be freed.
    pub(super) bytes: usize,
    /// The page-level table used last: which 2 MiB it covers, and its address.
    near: Option<(u64, u64)>,
}

/// The addresses that one slot covers.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    last: u64,
    bits: u32,
}

impl Span {
    const ROOT: Self = Self { start: 0, last: u64::MAX, bits: ROOT_BITS };

    /// Names the slot of `bits` address bits that contains `iova`.
    fn around(iova: u64, bits: u32) -> Self {
        let mask = (1 << bits) - 1;
        Self { start: iova & !mask, last: iova | mask, bits }
    }
}

fn table_at<'a>(entry: Entry) -> &'a Table {
    debug_assert!(entry.is_table());
    // SAFETY: the entry was read under the lock, and nodes are only freed after they were unlinked under it.
    unsafe { Table::at(entry.address()) }
}

fn bucket_at<'a>(entry: Entry) -> &'a Bucket {
    debug_assert!(entry.is_bucket());
    // SAFETY: as in `table_at`.
    unsafe { Bucket::at(entry.address()) }
}

fn load(slot: &AtomicU64) -> Entry {
    Entry(slot.load(Ordering::Relaxed))
}

fn store(slot: &AtomicU64, entry: Entry) {
    slot.store(entry.0, Ordering::Release);
}

impl State {
    /// Books a leaf, or `len` bytes of one, as mapped no longer.
    pub(super) fn release(&mut self, leaf: Entry, len: u64) {
        if leaf.is_direct() {
            self.extents.release(leaf.address(), len, self.garbage.memory());
            return;
        }
        // SAFETY: a leaf of the other kind, and the lock keeps what it names alive.
        let mapped = unsafe { &Detachable::at(leaf.address()).mapped };
        let left = mapped.load(Ordering::Relaxed) - len;
        mapped.store(left, Ordering::Relaxed);
        if left == 0 {
            self.garbage.retire(Retired::Detachable(leaf.address()));
        }
    }

    /// Hands a node that was unlinked to the garbage; leaves and empty entries have none.
    fn retire(&mut self, entry: Entry) {
        if entry.is_table() {
            self.garbage.retire(Retired::Table(entry.address()));
        } else if entry.is_bucket() {
            self.garbage.retire(Retired::Bucket(entry.address()));
        }
    }

    fn new_table(&mut self, level: u32) -> Result<Entry, Errno> {
        debug_assert!(level <= TOP_LEVEL);
        let address = Table::new()?.into_address();
        self.bytes += size_of::<Table>();
        Entry::table(address, level).ok_or(Errno::ENOMEM)
    }

    fn new_bucket(&mut self) -> Result<Entry, Errno> {
        let address = Bucket::new()?.into_address();
        self.bytes += size_of::<Bucket>();
        Entry::bucket(address).ok_or(Errno::ENOMEM)
    }
}
