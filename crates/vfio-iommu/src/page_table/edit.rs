//! The writer's side: putting ranges into slots and taking them out.
//!
//! Everything here runs under the table's lock. Entries are stored with release ordering, so a reader that
//! sees one sees the node behind it complete. Nothing that was reachable is freed here: it goes to the
//! [`Garbage`], whose owner waits for the readers.

// UNSAFETY: follows entries to nodes; the lock keeps them alive.
#![expect(unsafe_code, reason = "follows tagged addresses")]

use std::alloc::{Layout, handle_alloc_error};
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_uapi::Errno;

use super::entry::{Entry, FANOUT, PAGE_BITS, ROOT_BITS, TOP_LEVEL, level_bits, level_for};
use super::extents::Extents;
use super::garbage::{Garbage, Retired};
use super::node::{Bucket, Detachable, Node, Piece, Table};

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

    /// Returns the level of a table under this slot that is to hold `last`.
    fn level_below(self, last: u64) -> u32 {
        if self.bits == ROOT_BITS {
            level_for(last)
        } else {
            (self.bits - PAGE_BITS) / (level_bits(1) - PAGE_BITS) - 1
        }
    }
}

/// Tells whether `piece` fills a whole slot of a table at `level`: such pieces deserve leaves, not a search
/// in a bucket. Single pages do not count, or every page would cost a table.
fn fills_slot(piece: Piece, level: u32) -> bool {
    let mask = (1 << level_bits(level)) - 1;
    let first = piece.start.checked_add(mask).map(|start| start & !mask);
    level > 0 && first.is_some_and(|first| first.checked_add(mask).is_some_and(|last| last <= piece.last))
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
    /// Tells whether anything is mapped in `start..=last`.
    pub(super) fn occupied(&self, root: &AtomicU64, start: u64, last: u64) -> bool {
        occupied(load(root), Span::ROOT, start, last)
    }

    /// Puts `piece`, which overlaps nothing, into the table.
    ///
    /// # Errors
    /// `ENOMEM`; part of the piece may be in the table then.
    pub(super) fn insert(&mut self, root: &AtomicU64, piece: Piece) -> Result<(), Errno> {
        let result = self.insert_into_slot(root, Span::ROOT, piece);
        if result.is_err() {
            self.near = None;
        }
        result
    }

    /// Puts one page where the page before it went, if its table is known: `None` when it is not, else
    /// whether the slot was free.
    #[inline]
    pub(super) fn insert_near(&mut self, iova: u64, entry: Entry) -> Option<bool> {
        let (tag, address) = self.near?;
        if iova >> level_bits(1) != tag {
            return None;
        }
        // SAFETY: `near` is forgotten whenever a table is unlinked.
        let table = unsafe { Table::at(address) };
        let slot = table.slot((iova >> PAGE_BITS) as usize);
        let free = load(slot).is_empty();
        if free {
            store(slot, entry);
            table.add_used(1);
        }
        Some(free)
    }

    /// Raises the root until its table covers `last`.
    fn grow(&mut self, root: &AtomicU64, mut entry: Entry, last: u64) -> Result<Entry, Errno> {
        while entry.level() < level_for(last) {
            let table = self.new_table(entry.level() + 1)?;
            store(table_at(table).slot(0), entry);
            table_at(table).add_used(1);
            store(root, table);
            entry = table;
        }
        Ok(entry)
    }

    fn insert_into_table(&mut self, entry: Entry, piece: Piece) -> Result<(), Errno> {
        let table = table_at(entry);
        let bits = level_bits(entry.level());
        if bits == PAGE_BITS {
            self.near = Some((piece.start >> level_bits(1), entry.address()));
        }
        let mut at = piece.start;
        loop {
            let span = Span::around(at, bits);
            let slot = table.slot((at >> bits) as usize);
            let was_empty = load(slot).is_empty();
            let result = self.insert_into_slot(slot, span, piece.clip(span.start, span.last));
            if was_empty && !load(slot).is_empty() {
                table.add_used(1);
            }
            if result.is_err() || span.last >= piece.last {
                return result;
            }
            at = span.last + 1;
        }
    }

    fn insert_into_slot(&mut self, slot: &AtomicU64, span: Span, piece: Piece) -> Result<(), Errno> {
        let entry = load(slot);
        if (piece.start, piece.last) == (span.start, span.last) {
            debug_assert!(entry.is_empty(), "the range was checked to be free");
            store(slot, piece.entry);
            return Ok(());
        }
        if entry.is_table() {
            let entry = if span.bits == ROOT_BITS { self.grow(slot, entry, piece.last)? } else { entry };
            return self.insert_into_table(entry, piece);
        }
        let pieces = || entry.is_bucket().then(|| bucket_at(entry).pieces()).into_iter().flatten();
        let last = pieces().map(|piece| piece.last).fold(piece.last, u64::max);
        let level = span.level_below(last);
        if !fills_slot(piece, level) {
            if entry.is_empty() {
                let bucket = self.new_bucket()?;
                bucket_at(bucket).add(piece);
                store(slot, bucket);
                return Ok(());
            }
            if bucket_at(entry).add(piece) {
                self.promote(slot, span, entry);
                return Ok(());
            }
        }
        let table = self.new_table(level)?;
        let mut pieces = pieces().chain([piece]);
        let result = pieces.try_for_each(|piece| self.insert_into_table(table, piece));
        if let Err(errno) = result {
            self.retire_tree(table);
            return Err(errno);
        }
        store(slot, table);
        self.retire(entry);
        Ok(())
    }

    /// Turns a bucket whose one range grew to fill the slot into a leaf.
    fn promote(&mut self, slot: &AtomicU64, span: Span, bucket: Entry) {
        let first = bucket_at(bucket).pieces().next();
        if let Some(piece) = first.filter(|piece| (piece.start, piece.last) == (span.start, span.last)) {
            store(slot, piece.entry);
            self.retire(bucket);
        }
    }

    /// Takes whatever is mapped in `start..=last` out of the table; returns how many bytes that was.
    pub(super) fn remove(&mut self, root: &AtomicU64, start: u64, last: u64) -> u64 {
        self.near = None;
        let bytes = self.remove_from_slot(root, Span::ROOT, start, last);
        self.shrink(root);
        bytes
    }

    fn remove_from_slot(&mut self, slot: &AtomicU64, span: Span, start: u64, last: u64) -> u64 {
        let entry = load(slot);
        if entry.is_table() {
            return self.remove_from_table(slot, entry, span, start, last);
        }
        if entry.is_leaf() {
            let whole = Piece { start: span.start, last: span.last, entry, joins: true };
            return self.remove_from_pieces(slot, span, &mut [whole].into_iter(), start, last);
        }
        if entry.is_bucket()
            && bucket_at(entry).pieces().any(|piece| piece.start <= last && start <= piece.last)
        {
            let bytes = self.remove_from_pieces(slot, span, &mut bucket_at(entry).pieces(), start, last);
            self.retire(entry);
            return bytes;
        }
        0
    }

    /// Replaces the content of a slot by what is left of `pieces`.
    fn remove_from_pieces(
        &mut self,
        slot: &AtomicU64,
        span: Span,
        pieces: &mut dyn Iterator<Item = Piece>,
        start: u64,
        last: u64,
    ) -> u64 {
        let rest = AtomicU64::new(0);
        let mut bytes = 0;
        let keep = |state: &mut Self, piece: Piece| {
            // Taking away must not fail; without memory for one node there is nothing left to do.
            let kept = state.insert_into_slot(&rest, span, piece);
            kept.unwrap_or_else(|_| handle_alloc_error(Layout::new::<Table>()));
        };
        for piece in pieces {
            if piece.last < start || last < piece.start {
                keep(self, piece);
                continue;
            }
            if piece.start < start {
                keep(self, piece.clip(piece.start, start - 1));
            }
            if last < piece.last {
                keep(self, piece.clip(last + 1, piece.last));
            }
            let gone = piece.clip(start, last);
            bytes += gone.last - gone.start + 1;
            self.release(gone.entry, gone.last - gone.start + 1);
        }
        self.near = None;
        store(slot, load(&rest));
        bytes
    }

    fn remove_from_table(
        &mut self,
        slot: &AtomicU64,
        entry: Entry,
        span: Span,
        start: u64,
        last: u64,
    ) -> u64 {
        if start <= span.start && span.last <= last {
            store(slot, Entry::EMPTY);
            return self.drain(entry);
        }
        let table = table_at(entry);
        let bits = level_bits(entry.level());
        let end = table_last(span, entry).min(last);
        let mut at = span.start.max(start);
        let mut bytes = 0;
        while at <= end {
            let inner = Span::around(at, bits);
            let slot = table.slot((at >> bits) as usize);
            if !load(slot).is_empty() {
                bytes += self.remove_from_slot(slot, inner, start, last);
                if load(slot).is_empty() {
                    table.add_used(-1);
                }
            }
            if inner.last >= end {
                break;
            }
            at = inner.last + 1;
        }
        if table.used() == 0 {
            store(slot, Entry::EMPTY);
            self.retire(entry);
        }
        bytes
    }

    /// Empties a table that was unlinked, and everything below it.
    ///
    /// Its entries are cleared, not just forgotten: a reader that remembers the table finds nothing in it.
    fn drain(&mut self, entry: Entry) -> u64 {
        let table = table_at(entry);
        let size = 1 << level_bits(entry.level());
        let mut bytes = 0;
        for index in 0..FANOUT {
            let slot = table.slot(index);
            let inner = load(slot);
            if inner.is_empty() {
                continue;
            }
            store(slot, Entry::EMPTY);
            if inner.is_table() {
                bytes += self.drain(inner);
            } else if inner.is_bucket() {
                for piece in bucket_at(inner).pieces() {
                    bytes += piece.last - piece.start + 1;
                    self.release(piece.entry, piece.last - piece.start + 1);
                }
                self.retire(inner);
            } else {
                bytes += size;
                self.release(inner, size);
            }
        }
        self.retire(entry);
        bytes
    }

    /// Lowers the root while only its first slot is used, and by a table.
    fn shrink(&mut self, root: &AtomicU64) {
        let mut entry = load(root);
        while entry.is_table() && table_at(entry).used() == 1 && table_at(entry).entry(0).is_table() {
            let inner = table_at(entry).entry(0);
            store(root, inner);
            self.retire(entry);
            entry = inner;
        }
    }

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

    /// Retires a table that was never linked, with everything below it, without touching the books.
    fn retire_tree(&mut self, entry: Entry) {
        if entry.is_table() {
            for index in 0..FANOUT {
                self.retire_tree(table_at(entry).entry(index));
            }
        }
        self.retire(entry);
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

/// Returns the last address that a table under `span` covers: the root's may cover less than its span.
fn table_last(span: Span, entry: Entry) -> u64 {
    let bits = level_bits(entry.level() + 1);
    if bits >= u64::BITS { u64::MAX } else { span.last.min(span.start | ((1 << bits) - 1)) }
}

fn occupied(entry: Entry, span: Span, start: u64, last: u64) -> bool {
    if entry.is_bucket() {
        return bucket_at(entry).pieces().any(|piece| piece.start <= last && start <= piece.last);
    }
    if !entry.is_table() {
        return !entry.is_empty();
    }
    // A table without anything below it does not stay, so one that lies inside the range is enough.
    if start <= span.start && span.last <= last {
        return true;
    }
    let bits = level_bits(entry.level());
    let end = table_last(span, entry).min(last);
    let mut at = span.start.max(start);
    while at <= end {
        let inner = Span::around(at, bits);
        if occupied(table_at(entry).entry((at >> bits) as usize), inner, start, last) {
            return true;
        }
        if inner.last >= end {
            return false;
        }
        at = inner.last + 1;
    }
    false
}
