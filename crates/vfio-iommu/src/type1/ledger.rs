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

    /// Lists the pinned pages of a range.
    pub(super) fn pinned_in(&self, pages: Range<u64>) -> impl Iterator<Item = u64> {
        let chunks = self.chunks.range(pages.start / CHUNK_PAGES..);
        let inside = chunks.take_while(move |(at, _)| **at * CHUNK_PAGES < pages.end);
        inside.flat_map(move |(at, chunk)| {
            let pinned = move |page: &u64| chunk.counts[slot(*page)] > 0;
            let first = at * CHUNK_PAGES;
            (first.max(pages.start)..(first + CHUNK_PAGES).min(pages.end)).filter(pinned)
        })
    }

    /// Counts the pinned pages of a range.
    pub(super) fn count(&self, pages: Range<u64>) -> u64 {
        let chunks = self.chunks.range(pages.start / CHUNK_PAGES..);
        let inside = chunks.take_while(|(at, _)| **at * CHUNK_PAGES < pages.end);
        let count = |(at, chunk): (&u64, &Chunk)| {
            let first = at * CHUNK_PAGES;
            let piece = first.max(pages.start)..(first + CHUNK_PAGES).min(pages.end);
            if piece.end - piece.start == CHUNK_PAGES {
                return chunk.pinned;
            }
            piece.filter(|page| chunk.counts[slot(*page)] > 0).count() as u64
        };
        inside.map(count).sum()
    }

    /// Pins pages once more, whose memory, should they be new here, is `span`.
    pub(super) fn pin(&mut self, first: u64, span: &HostSpan) {
        let run = Run::of(span, first);
        for piece in pieces(first..first + span.len / PAGE_SIZE) {
            let chunk =
                self.chunks.entry(piece.start / CHUNK_PAGES).or_insert_with(|| Chunk::new(run.clone()));
            let usual = chunk.run.is(&run);
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

    /// Takes one pin off each page of a range; calls `freed` for each page that has none left.
    pub(super) fn unpin(&mut self, pages: Range<u64>, mut freed: impl FnMut(u64)) {
        let mut at = pages.start / CHUNK_PAGES;
        while let Some((&index, chunk)) = self.chunks.range_mut(at..).next() {
            let first = index * CHUNK_PAGES;
            for page in first.max(pages.start)..(first + CHUNK_PAGES).min(pages.end) {
                let count = &mut chunk.counts[slot(page)];
                if *count == 0 || (*count == SATURATED && take_excess(&mut self.excess, page)) {
                    continue;
                }
                *count -= 1;
                if *count == 0 {
                    chunk.pinned -= 1;
                    chunk.odd.remove(&page);
                    freed(page);
                }
            }
            if chunk.pinned == 0 {
                self.chunks.remove(&index);
            }
            if first + CHUNK_PAGES >= pages.end {
                return;
            }
            at = index + 1;
        }
    }
}

impl Chunk {
    fn new(run: Run) -> Self {
        Self { counts: vec![0; CHUNK_PAGES as usize].into(), pinned: 0, run, odd: BTreeMap::new() }
    }
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
