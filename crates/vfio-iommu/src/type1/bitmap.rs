//! Which pages of a mapping are dirty.
//!
//! Kept in chunks that exist only where something is dirty: a clean terabyte costs nothing to keep and next to
//! nothing to ask.

use std::collections::BTreeMap;
use std::ops::Range;

const WORD_BITS: u64 = 64;
/// Words of a chunk: 32,768 pages, 128 MiB.
const CHUNK_WORDS: usize = 512;
const CHUNK_BITS: u64 = CHUNK_WORDS as u64 * WORD_BITS;

type Chunk = Box<[u64; CHUNK_WORDS]>;

/// A set of page numbers.
#[derive(Default)]
pub(super) struct DirtyBitmap {
    /// Every page is dirty, whatever the chunks say.
    full: bool,
    chunks: BTreeMap<u64, Chunk>,
}

impl DirtyBitmap {
    /// Marks pages.
    pub(super) fn set(&mut self, pages: Range<u64>) {
        if self.full {
            return;
        }
        let mut page = pages.start;
        while page < pages.end {
            let end = pages.end.min((page / CHUNK_BITS + 1) * CHUNK_BITS);
            let chunk = self.chunks.entry(page / CHUNK_BITS).or_insert_with(|| Box::new([0; CHUNK_WORDS]));
            set_bits(chunk, page % CHUNK_BITS, end - page);
            page = end;
        }
    }

    /// Marks every page there is.
    pub(super) fn set_all(&mut self) {
        self.full = true;
        self.chunks.clear();
    }

    /// Unmarks every page.
    pub(super) fn clear(&mut self) {
        self.full = false;
        self.chunks.clear();
    }

    /// Returns the bits of 64 pages from `first` on, a multiple of 64.
    pub(super) fn word(&self, first: u64) -> u64 {
        if self.full {
            return u64::MAX;
        }
        let chunk = self.chunks.get(&(first / CHUNK_BITS));
        chunk.map_or(0, |chunk| chunk[(first % CHUNK_BITS / WORD_BITS) as usize])
    }
}

/// Returns a word with the bits from `low` up to, not including, `high`.
fn mask(low: u64, high: u64) -> u64 {
    let below = |bit: u64| if bit >= WORD_BITS { u64::MAX } else { (1 << bit) - 1 };
    below(high) & !below(low)
}

fn set_bits(chunk: &mut Chunk, first: u64, count: u64) {
    let end = first + count;
    for index in first / WORD_BITS..=(end - 1) / WORD_BITS {
        let base = index * WORD_BITS;
        chunk[index as usize] |= mask(first.saturating_sub(base), (end - base).min(WORD_BITS));
    }
}
