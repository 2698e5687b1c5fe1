//! Finding leaves one after the other, with a memory for the tables on the way.
//!
//! Addresses near each other skip most of the walk. That is sound because the tables stay allocated while the
//! epoch lasts, and right because a table that was unlinked was emptied too: whatever leaf is still found in
//! one is in force, and when none is found the walk starts again from the root.

// UNSAFETY: follows entries and remembered tables, which the reader's epoch keeps alive.
#![expect(unsafe_code, reason = "follows tagged addresses")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Entry, FANOUT, Need, PAGE_BITS, level_bits};
use super::node::{Bucket, Found, Node, Table};
use super::walk::walk;
use crate::{FaultReason, epoch};

/// How much more each level covers.
const SLOT_BITS: u32 = level_bits(1) - PAGE_BITS;

/// How much a table of 2 MiB slots covers.
const UPPER_SPAN: u64 = 1 << level_bits(2);

/// Stands for the table remembered while there is none.
static EMPTY: Table = Table::empty();

/// Host memory that an access may go straight to.
#[derive(Clone, Copy)]
pub(super) struct Direct {
    /// Host address of the byte.
    pub(super) host: u64,
    /// Bytes that follow it in the leaf.
    pub(super) extent: u64,
}

impl Direct {
    #[inline(always)]
    fn leaf(entry: Entry, iova: u64, bits: u32) -> Self {
        Self::within(entry, iova, (1 << bits) - 1)
    }

    /// As [`leaf`](Self::leaf), for a leaf of `span + 1` bytes.
    #[inline(always)]
    fn within(entry: Entry, iova: u64, span: u64) -> Self {
        let offset = iova & span;
        Self { host: entry.address() + offset, extent: span - offset }
    }
}

impl Found {
    /// Returns where host memory is, unless the leaf is of the other kind.
    #[inline]
    pub(super) fn direct(self) -> Option<Direct> {
        let direct = Direct { host: self.entry.address() + self.offset, extent: self.extent };
        self.entry.is_direct().then_some(direct)
    }
}

/// Looks addresses up in a table, inside the epoch of a guard.
///
/// Only one table is remembered, that of 2 MiB slots: one more, of pages, would save a load where an access
/// follows another in the same 2 MiB, and cost a branch that nobody can predict where it does not.
pub(super) struct Cursor<'g> {
    root: &'g AtomicU64,
    /// The first address that the table remembered covers.
    base: Cell<u64>,
    upper: Cell<*const Table>,
    /// The root's table, how many bits each of its slots covers, and how many slots it has: 0 without one.
    top: Cell<*const Table>,
    top_bits: Cell<u32>,
    /// What a slot covers, less one.
    top_span: Cell<u64>,
    top_slots: Cell<u64>,
    _inside: PhantomData<&'g epoch::Guard>,
}

impl<'g> Cursor<'g> {
    /// Starts with the root's table remembered.
    ///
    /// # Safety
    /// The calling thread holds a guard for as long as the cursor exists.
    #[inline]
    pub(super) unsafe fn new(root: &'g AtomicU64) -> Self {
        let cursor = Self {
            root,
            // An empty table, for the addresses that are least likely to be asked for.
            base: Cell::new(0_u64.wrapping_sub(UPPER_SPAN)),
            upper: Cell::new(&EMPTY),
            top: Cell::new(ptr::null()),
            top_bits: Cell::new(0),
            top_span: Cell::new(0),
            top_slots: Cell::new(0),
            _inside: PhantomData,
        };
        cursor.start(Entry(root.load(Ordering::Acquire)));
        cursor
    }

    /// Remembers the root's table, if there is one.
    #[inline(always)]
    fn start(&self, root: Entry) {
        if root.is_table() {
            let bits = level_bits(root.level());
            // SAFETY: it links to a table, which the epoch keeps alive.
            self.top.set(unsafe { Table::at(root.address()) });
            self.top_bits.set(bits);
            self.top_span.set((1 << bits) - 1);
            self.top_slots.set(FANOUT as u64);
        } else {
            self.top_slots.set(0);
        }
    }

    #[inline(always)]
    fn remember(&self, iova: u64, table: &Table) {
        self.base.set(iova & !(UPPER_SPAN - 1));
        self.upper.set(table);
    }

    /// Finds host memory by the tables remembered; `None` says nothing but that [`find`](Self::find) is due.
    #[inline(always)]
    pub(super) fn near(&self, iova: u64, need: Need) -> Option<Direct> {
        let offset = iova.wrapping_sub(self.base.get());
        if offset >= UPPER_SPAN {
            return self.below_top(iova, need);
        }
        // SAFETY: the table is static, or was reached in this epoch, which keeps it alive.
        let entry = unsafe { &*self.upper.get() }.entry((offset >> level_bits(1)) as usize);
        if !entry.is_table() {
            seldom();
            return entry.allows_direct(need).then(|| Direct::leaf(entry, iova, level_bits(1)));
        }
        // SAFETY: it links to a table, which the epoch keeps alive.
        let entry = unsafe { Table::at(entry.address()) }.entry((iova >> PAGE_BITS) as usize);
        entry.allows_direct(need).then(|| Direct::leaf(entry, iova, PAGE_BITS))
    }

    /// As [`near`](Self::near), from the root's table down.
    #[inline(always)]
    fn below_top(&self, iova: u64, need: Need) -> Option<Direct> {
        let mut bits = self.top_bits.get();
        let slot = iova >> bits;
        if slot >= self.top_slots.get() {
            return None;
        }
        // SAFETY: there are slots, so there is a table, and the epoch keeps it alive.
        let mut entry = unsafe { &*self.top.get() }.entry(slot as usize);
        if entry.allows_direct(need) {
            return Some(Direct::within(entry, iova, self.top_span.get()));
        }
        loop {
            if !entry.is_table() {
                return None;
            }
            // SAFETY: it links to a table, which the epoch keeps alive.
            let table = unsafe { Table::at(entry.address()) };
            bits -= SLOT_BITS;
            if bits == level_bits(1) {
                self.remember(iova, table);
            }
            entry = table.entry((iova >> bits) as usize);
            if entry.allows_direct(need) {
                return Some(Direct::leaf(entry, iova, bits));
            }
        }
    }

    /// Finds the leaf for `iova` from the root on, and remembers the way.
    ///
    /// # Errors
    /// `NoMapping`, `Permission`.
    pub(super) fn find(&self, iova: u64, need: Need) -> Result<Found, FaultReason> {
        let root = Entry(self.root.load(Ordering::Acquire));
        self.start(root);
        // SAFETY: by the promise made to `new`, this thread stays inside.
        let walked = unsafe { walk(root, iova) };
        if let Some(table) = walked.upper {
            self.remember(iova, table);
        }
        check(walked.found, need)
    }
}

/// Finds host memory once, from the root on, remembering nothing; `None` says nothing but that a cursor is due.
#[inline(always)]
pub(super) fn once(root: &AtomicU64, iova: u64, need: Need, _inside: &epoch::Guard) -> Option<Direct> {
    let mut entry = Entry(root.load(Ordering::Acquire));
    if !entry.is_table() {
        return once_in_bucket(entry, iova, need);
    }
    let mut bits = level_bits(entry.level());
    if iova >> bits >= FANOUT as u64 {
        return None;
    }
    loop {
        // SAFETY: it links to a table, which the guard keeps alive.
        entry = unsafe { Table::at(entry.address()) }.entry((iova >> bits) as usize);
        if entry.allows_direct(need) {
            return Some(Direct::leaf(entry, iova, bits));
        }
        if !entry.is_table() {
            return once_in_bucket(entry, iova, need);
        }
        bits -= SLOT_BITS;
    }
}

#[inline(never)]
fn once_in_bucket(entry: Entry, iova: u64, need: Need) -> Option<Direct> {
    if !entry.is_bucket() {
        return None;
    }
    // SAFETY: it links to a bucket, which the guard of the only caller keeps alive.
    let found = unsafe { Bucket::at(entry.address()) }.find(iova)?;
    found.direct().filter(|_| found.entry.allows(need))
}

/// Tells the compiler which way to lay out in line: pages, whose walk is longest.
#[cold]
#[inline(always)]
const fn seldom() {}

fn check(found: Option<Found>, need: Need) -> Result<Found, FaultReason> {
    match found {
        Some(found) if found.entry.allows(need) => Ok(found),
        Some(_) => Err(FaultReason::Permission),
        None => Err(FaultReason::NoMapping),
    }
}
