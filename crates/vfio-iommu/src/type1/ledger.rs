//! The pins of one device in one mapping: how often each page is pinned, and which memory it was.
//!
//! Two bytes per page in chunks that exist only where something is pinned. The memory behind a pinned page
//! must not change when the process maps something else at its address, but a handle per page would cost
//! more than the count: a chunk keeps one handle for the run that most of its pages belong to, and lists only
//! the pages that do not.

use std::collections::BTreeMap;
use std::ops::Range;

use vfio_memory::{HostSpan, Memory, PAGE_SIZE};

/// Pages of a chunk: 8 MiB.
const CHUNK_PAGES: u64 = 2048;
/// The count of a page that is continued in `excess`.
const SATURATED: u16 = u16::MAX;

/// Counts pins by page number inside a mapping.
#[derive(Default)]
pub(super) struct Ledger {
    chunks: BTreeMap<u64, Chunk>,
    /// Pins beyond what a counter holds.
    excess: BTreeMap<u64, u64>,
}

struct Chunk {
    counts: Box<[u16]>,
    pinned: u64,
    run: Run,
    /// Pages that are not part of `run`.
    odd: BTreeMap<u64, Run>,
}

/// Memory such that page `n` begins at `base + n` pages, wrapping.
#[derive(Clone)]
struct Run {
    memory: Memory,
    base: u64,
}

impl Run {
    fn of(span: &HostSpan, first_page: u64) -> Self {
        let base = span.offset.wrapping_sub(first_page.wrapping_mul(PAGE_SIZE));
        Self { memory: span.memory.clone(), base }
    }

    fn is(&self, other: &Self) -> bool {
        self.base == other.base && self.memory.same_object(&other.memory)
    }

    fn page(&self, page: u64) -> HostSpan {
        let offset = self.base.wrapping_add(page.wrapping_mul(PAGE_SIZE));
        HostSpan { memory: self.memory.clone(), offset, len: PAGE_SIZE }
    }
}

/// Splits a range of pages at chunk borders.
fn pieces(pages: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut next = pages.start;
    std::iter::from_fn(move || {
        (next < pages.end).then(|| {
            let start = next;
            next = pages.end.min((start / CHUNK_PAGES + 1) * CHUNK_PAGES);
            start..next
        })
    })
}

impl Ledger {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the pages of the next chunk, which may contain `page`: between the two nothing is pinned.
    pub(super) fn next_chunk(&self, page: u64) -> Option<Range<u64>> {
        let (index, _) = self.chunks.range(page / CHUNK_PAGES..).next()?;
        Some(index * CHUNK_PAGES..(index + 1) * CHUNK_PAGES)
    }

    pub(super) fn is_pinned(&self, page: u64) -> bool {
        self.chunks.get(&(page / CHUNK_PAGES)).is_some_and(|chunk| chunk.counts[slot(page)] > 0)
    }

    /// Returns the memory of a pinned page.
    pub(super) fn memory_of(&self, page: u64) -> Option<HostSpan> {
        let chunk = self.chunks.get(&(page / CHUNK_PAGES))?;
        let run = chunk.odd.get(&page).unwrap_or(&chunk.run);
        (chunk.counts[slot(page)] > 0).then(|| run.page(page))
    }

    /// Lists the pinned pages of a range as runs.
    pub(super) fn pinned_in(&self, pages: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.chunks_in(pages).flat_map(|(piece, chunk)| {
            let mut next = piece.start;
            std::iter::from_fn(move || {
                let rest = &chunk.counts[slot(next)..][..(piece.end - next) as usize];
                let skip = rest.iter().position(|count| *count > 0)?;
                let len = rest[skip..].iter().position(|count| *count == 0).unwrap_or(rest.len() - skip);
                let start = next + skip as u64;
                next = start + len as u64;
                (len > 0).then_some(start..next)
            })
        })
    }

    /// Lists the chunks that a range touches, each with the pages of the range inside it.
    fn chunks_in(&self, pages: Range<u64>) -> impl Iterator<Item = (Range<u64>, &Chunk)> {
        let chunks = self.chunks.range(pages.start / CHUNK_PAGES..);
        let pieces = chunks.map(move |(index, chunk)| (clip(*index, &pages), chunk));
        pieces.take_while(|(piece, _)| piece.start < piece.end)
    }

    /// Counts the pinned pages of a range.
    pub(super) fn count(&self, pages: Range<u64>) -> u64 {
        let count = |(piece, chunk): (Range<u64>, &Chunk)| {
            if piece.end - piece.start == CHUNK_PAGES {
                return chunk.pinned;
            }
            chunk.slice(&piece).iter().filter(|count| **count > 0).count() as u64
        };
        self.chunks_in(pages).map(count).sum()
    }

    /// Pins pages once more, whose memory, should they be new here, is `span`.
    pub(super) fn pin(&mut self, first: u64, span: &HostSpan) {
        let run = Run::of(span, first);
        for piece in pieces(first..first + span.len / PAGE_SIZE) {
            let chunk =
                self.chunks.entry(piece.start / CHUNK_PAGES).or_insert_with(|| Chunk::new(run.clone()));
            let usual = chunk.run.is(&run);
            if chunk.pinned == 0 {
                chunk.pinned = piece.end - piece.start;
                chunk.slice_mut(&piece).fill(1);
                continue;
            }
            for page in piece {
                let count = &mut chunk.counts[slot(page)];
                match *count {
                    0 => {
                        chunk.pinned += 1;
                        if !usual {
                            chunk.odd.insert(page, run.clone());
                        }
                        *count = 1;
                    }
                    SATURATED => *self.excess.entry(page).or_insert(0) += 1,
                    _ => *count += 1,
                }
            }
        }
    }

    /// Takes one pin off each page of a range; calls `freed` for pages that have none left.
    pub(super) fn unpin(&mut self, pages: Range<u64>, mut freed: impl FnMut(Range<u64>)) {
        let mut at = pages.start / CHUNK_PAGES;
        while let Some((&index, chunk)) = self.chunks.range_mut(at..).next() {
            let piece = clip(index, &pages);
            if piece.start >= piece.end {
                return;
            }
            chunk.unpin(piece, &mut self.excess, &mut freed);
            if chunk.pinned == 0 {
                self.chunks.remove(&index);
            }
            at = index + 1;
        }
    }
}

impl Chunk {
    fn new(run: Run) -> Self {
        Self { counts: vec![0; CHUNK_PAGES as usize].into(), pinned: 0, run, odd: BTreeMap::new() }
    }

    fn slice(&self, piece: &Range<u64>) -> &[u16] {
        &self.counts[slot(piece.start)..][..(piece.end - piece.start) as usize]
    }

    fn slice_mut(&mut self, piece: &Range<u64>) -> &mut [u16] {
        &mut self.counts[slot(piece.start)..][..(piece.end - piece.start) as usize]
    }

    fn unpin(
        &mut self,
        piece: Range<u64>,
        excess: &mut BTreeMap<u64, u64>,
        freed: &mut impl FnMut(Range<u64>),
    ) {
        if self.odd.is_empty() && self.slice(&piece).iter().all(|count| *count == 1) {
            self.slice_mut(&piece).fill(0);
            self.pinned -= piece.end - piece.start;
            freed(piece);
            return;
        }
        for page in piece {
            let count = &mut self.counts[slot(page)];
            if *count == 0 || (*count == SATURATED && take_excess(excess, page)) {
                continue;
            }
            *count -= 1;
            if *count == 0 {
                self.pinned -= 1;
                self.odd.remove(&page);
                freed(page..page + 1);
            }
        }
    }
}

/// Returns the part of `pages` that lies in a chunk; empty if there is none.
fn clip(index: u64, pages: &Range<u64>) -> Range<u64> {
    let first = index * CHUNK_PAGES;
    first.max(pages.start)..(first + CHUNK_PAGES).min(pages.end)
}

fn slot(page: u64) -> usize {
    (page % CHUNK_PAGES) as usize
}

/// Takes a pin from those that the counter could not hold; tells whether there was one.
fn take_excess(excess: &mut BTreeMap<u64, u64>, page: u64) -> bool {
    let Some(count) = excess.get_mut(&page) else { return false };
    *count -= 1;
    if *count == 0 {
        excess.remove(&page);
    }
    true
}
