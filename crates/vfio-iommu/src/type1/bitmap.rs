//! Which pages of a mapping are dirty.
//!
//! Kept in chunks that exist only where something is dirty, each with a summary of its words: a clean terabyte
//! costs nothing to keep and next to nothing to ask, and a few dirty pages are found without looking at the rest.

use std::collections::BTreeMap;
use std::ops::Range;

pub(super) const WORD_BITS: u64 = 64;
/// Words of a chunk: 32,768 pages, 128 MiB.
pub(super) const CHUNK_WORDS: usize = 512;
pub(super) const CHUNK_BITS: u64 = CHUNK_WORDS as u64 * WORD_BITS;

/// The bits of one chunk.
struct Chunk {
    words: [u64; CHUNK_WORDS],
    /// A bit for each word that is not zero.
    summary: [u64; CHUNK_WORDS / WORD_BITS as usize],
}

/// A set of page numbers.
#[derive(Default)]
pub(super) struct DirtyBitmap {
    /// Every page is dirty, whatever the chunks say.
    full: bool,
    chunks: BTreeMap<u64, Box<Chunk>>,
}

/// What is known of the words of one chunk.
pub(super) enum Words<'a> {
    /// All are alike: nothing is dirty, or everything.
    All(u64),
    Each(&'a [u64; CHUNK_WORDS]),
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
            let chunk = self.chunks.entry(page / CHUNK_BITS).or_insert_with(Chunk::new);
            chunk.set(page % CHUNK_BITS, end - page);
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

    /// Returns the words of chunk number `index`.
    pub(super) fn chunk(&self, index: u64) -> Words<'_> {
        if self.full {
            return Words::All(u64::MAX);
        }
        self.chunks.get(&index).map_or(Words::All(0), |chunk| Words::Each(&chunk.words))
    }

    /// Calls `visit` for each run of dirty pages below `end`, in order; runs may touch.
    pub(super) fn runs(&self, end: u64, mut visit: impl FnMut(Range<u64>)) {
        if self.full {
            return visit(0..end);
        }
        for (index, chunk) in &self.chunks {
            let first = index * CHUNK_BITS;
            chunk.runs(|run| {
                let run = first + run.start..end.min(first + run.end);
                if !run.is_empty() {
                    visit(run);
                }
            });
        }
    }
}

impl Chunk {
    fn new() -> Box<Self> {
        Box::new(Self { words: [0; CHUNK_WORDS], summary: [0; CHUNK_WORDS / WORD_BITS as usize] })
    }

    fn set(&mut self, first: u64, count: u64) {
        let end = first + count;
        for index in first / WORD_BITS..=(end - 1) / WORD_BITS {
            let base = index * WORD_BITS;
            self.words[index as usize] |= mask(first.saturating_sub(base), (end - base).min(WORD_BITS));
            self.summary[(index / WORD_BITS) as usize] |= 1 << (index % WORD_BITS);
        }
    }

    fn runs(&self, mut visit: impl FnMut(Range<u64>)) {
        for (mut summary, group) in self.summary.iter().copied().zip((0..).step_by(WORD_BITS as usize)) {
            while summary != 0 {
                let index = group + u64::from(summary.trailing_zeros());
                summary &= summary - 1;
                let (mut word, base) = (self.words[index as usize], index * WORD_BITS);
                while word != 0 {
                    let start = word.trailing_zeros();
                    let len = (word >> start).trailing_ones();
                    word &= !mask(start.into(), (start + len).into());
                    visit(base + u64::from(start)..base + u64::from(start + len));
                }
            }
        }
    }
}

/// Returns a word with the bits from `low` up to, not including, `high`.
fn mask(low: u64, high: u64) -> u64 {
    let below = |bit: u64| if bit >= WORD_BITS { u64::MAX } else { (1 << bit) - 1 };
    below(high) & !below(low)
}
