//! Putting a range in: leaves where it fills slots, buckets where it does not.

// UNSAFETY: reaches the table used last by its address; the lock keeps it alive.
#![expect(unsafe_code, reason = "follows a remembered address")]

use std::sync::atomic::AtomicU64;

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::{Span, State, bucket_at, load, store, table_at};
use crate::page_table::entry::{Entry, FANOUT, PAGE_BITS, ROOT_BITS, level_bits, level_for};
use crate::page_table::node::{Node, Piece, Table};

impl Span {
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

impl State {
    /// Puts `piece`, which overlaps nothing, into the table.
    ///
    /// # Errors
    /// `ENOMEM`; part of the piece may be in the table then.
    pub(in crate::page_table) fn insert(&mut self, root: &AtomicU64, piece: Piece) -> Result<(), Errno> {
        let result = self.insert_into_slot(root, Span::ROOT, piece);
        if result.is_err() {
            self.near = None;
        }
        result
    }

    /// Puts one page into the table that was used last, and books it with the memory booked last; false, and nothing
    /// done, where those are others or the slot is taken.
    #[inline(always)]
    pub(in crate::page_table) fn insert_next(&mut self, iova: u64, entry: Entry, memory: &Memory) -> bool {
        let Some((tag, address)) = self.near else { return false };
        if iova >> level_bits(1) != tag {
            return false;
        }
        // SAFETY: `near` is forgotten whenever a table is unlinked.
        let table = unsafe { Table::at(address) };
        let slot = table.slot((iova >> PAGE_BITS) as usize);
        if !load(slot).is_empty() || !self.extents.acquire_again(memory, 1 << PAGE_BITS) {
            return false;
        }
        store(slot, entry);
        table.add_used(1);
        true
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

    pub(super) fn insert_into_slot(
        &mut self,
        slot: &AtomicU64,
        span: Span,
        piece: Piece,
    ) -> Result<(), Errno> {
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
        if entry.is_empty() && !fills_slot(piece, level) {
            let bucket = self.new_bucket()?;
            bucket_at(bucket).add(piece);
            store(slot, bucket);
            return Ok(());
        }
        if entry.is_bucket()
            && !fills_slot(piece, level)
            && let Some(grown) = bucket_at(entry).add(piece)
        {
            self.promote(slot, span, entry, grown, level);
            return Ok(());
        }
        let table = self.table_of(level, &mut pieces().chain([piece]))?;
        store(slot, table);
        self.retire(entry);
        Ok(())
    }

    /// Makes a table of ranges.
    fn table_of(&mut self, level: u32, pieces: &mut dyn Iterator<Item = Piece>) -> Result<Entry, Errno> {
        let table = self.new_table(level)?;
        for piece in pieces {
            if let Err(errno) = self.insert_into_table(table, piece) {
                self.retire_tree(table);
                return Err(errno);
            }
        }
        Ok(table)
    }

    /// Gives a range of a bucket that grew large enough the leaves it deserves.
    fn promote(&mut self, slot: &AtomicU64, span: Span, bucket: Entry, grown: Piece, level: u32) {
        let entry = if (grown.start, grown.last) == (span.start, span.last) {
            grown.entry
        } else if fills_slot(grown, level) {
            // Without memory for the table, the bucket stays: it is only slower.
            let Ok(table) = self.table_of(level, &mut bucket_at(bucket).pieces()) else { return };
            table
        } else {
            return;
        };
        store(slot, entry);
        self.retire(bucket);
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
}
