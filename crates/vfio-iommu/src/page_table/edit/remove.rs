//! Taking a range out, and telling whether one is free.

use std::alloc::{Layout, handle_alloc_error};
use std::sync::atomic::AtomicU64;

use super::{Span, State, bucket_at, load, store, table_at};
use crate::page_table::entry::{Entry, FANOUT, level_bits};
use crate::page_table::node::{Piece, Table};

impl State {
    /// Tells whether anything is mapped in `start..=last`.
    pub(in crate::page_table) fn occupied(&self, root: &AtomicU64, start: u64, last: u64) -> bool {
        occupied(load(root), Span::ROOT, start, last)
    }

    /// Takes whatever is mapped in `start..=last` out of the table; returns how many bytes that was.
    pub(in crate::page_table) fn remove(&mut self, root: &AtomicU64, start: u64, last: u64) -> u64 {
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
