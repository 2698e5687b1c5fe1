//! The pins of one device in one mapping: how often each page is pinned, and which memory it was.
//!
//! A byte per page in chunks that exist only where something is pinned, and are found by number, without a
//! tree. The memory behind a pinned page must not change when the process maps something else at its address,
//! but a handle per page would cost more than the count: a chunk keeps one handle for the run that most of its
//! pages belong to, and lists only the pages that do not.

mod chunk;
mod directory;

use std::ops::Range;

use vfio_memory::{HostSpan, PAGE_SIZE};

use chunk::Chunk;
use directory::Directory;

pub(in crate::type1) use chunk::Run;

/// Pages of a chunk: 8 MiB.
const CHUNK_PAGES: u64 = 2048;

/// Counts pins by page number inside a mapping.
#[derive(Default)]
pub(crate) struct Ledger {
    chunks: Directory<Chunk>,
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

/// Returns the part of `pages` that lies in a chunk; empty if there is none.
fn clip(index: u64, pages: &Range<u64>) -> Range<u64> {
    let first = index * CHUNK_PAGES;
    first.max(pages.start)..(first + CHUNK_PAGES).min(pages.end)
}

impl Ledger {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the pages of the next chunk, which may contain `page`: between the two nothing is pinned.
    pub(crate) fn next_chunk(&self, page: u64) -> Option<Range<u64>> {
        let (index, _) = self.chunks.iter_from(page / CHUNK_PAGES).next()?;
        Some(index * CHUNK_PAGES..(index + 1) * CHUNK_PAGES)
    }

    #[inline]
    pub(crate) fn is_pinned(&self, page: u64) -> bool {
        self.chunks.get(page / CHUNK_PAGES).is_some_and(|chunk| chunk.is_pinned(page))
    }

    /// Returns the memory of a pinned page.
    pub(crate) fn memory_of(&self, page: u64) -> Option<HostSpan> {
        let run = self.run_of(page)?;
        Some(HostSpan { memory: run.memory().clone(), offset: run.offset(page), len: PAGE_SIZE })
    }

    /// Returns the run that a pinned page belongs to.
    #[inline]
    pub(super) fn run_of(&self, page: u64) -> Option<&Run> {
        self.chunks.get(page / CHUNK_PAGES)?.run_of(page)
    }

    /// Lists the pinned pages of a range as runs.
    pub(crate) fn pinned_in(&self, pages: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.chunks_in(pages).flat_map(|(mut piece, chunk)| {
            std::iter::from_fn(move || {
                let run = chunk.first_pinned(&piece)?;
                piece.start = run.end;
                Some(run)
            })
        })
    }

    /// Lists the chunks that a range touches, each with the pages of the range inside it.
    fn chunks_in(&self, pages: Range<u64>) -> impl Iterator<Item = (Range<u64>, &Chunk)> {
        let chunks = self.chunks.iter_from(pages.start / CHUNK_PAGES);
        let pieces = chunks.map(move |(index, chunk)| (clip(index, &pages), chunk));
        pieces.take_while(|(piece, _)| piece.start < piece.end)
    }

    /// Counts the pinned pages of a range.
    pub(crate) fn count(&self, pages: Range<u64>) -> u64 {
        let count = |(piece, chunk): (Range<u64>, &Chunk)| {
            if piece.end - piece.start == CHUNK_PAGES { chunk.pinned() } else { chunk.count(&piece) }
        };
        self.chunks_in(pages).map(count).sum()
    }

    /// Pins pages once more, whose memory, should they be new here, is `span`.
    pub(crate) fn pin(&mut self, first: u64, span: &HostSpan) {
        let run = Run::of(span, first);
        for piece in pieces(first..first + span.len / PAGE_SIZE) {
            let make = || Chunk::new(run.clone());
            self.chunks.get_or_insert_with(piece.start / CHUNK_PAGES, make).pin(piece, &run);
        }
    }

    /// Pins one page once more, which belongs to `run` should it be new here.
    #[inline]
    pub(super) fn pin_one(&mut self, page: u64, run: &Run) {
        self.chunks.get_or_insert_with(page / CHUNK_PAGES, || Chunk::new(run.clone())).pin_one(page, run);
    }

    /// Takes one pin off each page of a range; calls `freed` for pages that have none left.
    pub(crate) fn unpin(&mut self, pages: Range<u64>, mut freed: impl FnMut(Range<u64>)) {
        let mut at = pages.start / CHUNK_PAGES;
        while let Some(index) = self.chunks.next_from(at) {
            let piece = clip(index, &pages);
            if piece.start >= piece.end {
                return;
            }
            let chunk = self.chunks.get_mut(index).expect("it was just found");
            chunk.unpin(piece, &mut freed);
            if chunk.is_empty() {
                self.chunks.remove(index);
            }
            at = index + 1;
        }
    }

    /// Takes one pin off a page; tells whether it has none left now.
    #[inline]
    pub(crate) fn unpin_one(&mut self, page: u64) -> bool {
        let index = page / CHUNK_PAGES;
        let Some(chunk) = self.chunks.get_mut(index) else { return false };
        let freed = chunk.unpin_one(page);
        if freed && chunk.is_empty() {
            self.chunks.remove(index);
        }
        freed
    }

    /// Returns the bytes that counting takes.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.bytes() + self.chunks.iter_from(0).map(|(_, chunk)| chunk.bytes()).sum::<usize>()
    }
}
