//! The pins of a few pages in a row.

use std::collections::BTreeMap;
use std::ops::Range;

use vfio_memory::{HostSpan, Memory, PAGE_SIZE};

use super::CHUNK_PAGES;

/// The count of a page that is continued elsewhere.
const SATURATED: u8 = u8::MAX;
/// The highest count that is not continued.
const MOST: u8 = SATURATED - 1;

/// Counts the pins of pages that lie in one chunk of addresses.
///
/// While all its pages are pinned equally often, as in a range that was pinned at once, one number says it.
pub(super) struct Chunk {
    counts: Counts,
    pinned: u64,
    run: Run,
    /// Pages that are not part of `run`.
    odd: BTreeMap<u64, Run>,
    /// Pins beyond what a counter holds.
    excess: BTreeMap<u64, u64>,
}

enum Counts {
    All(u8),
    Each(Box<[u8]>),
}

/// Memory such that page `n` begins at `base + n` pages, wrapping.
#[derive(Clone)]
pub(in crate::type1) struct Run {
    memory: Memory,
    base: u64,
}

impl Run {
    /// Says where page `first` lies, and with it every other.
    pub(in crate::type1) fn of(span: &HostSpan, first: u64) -> Self {
        let base = span.offset.wrapping_sub(first.wrapping_mul(PAGE_SIZE));
        Self { memory: span.memory.clone(), base }
    }

    fn is(&self, other: &Self) -> bool {
        self.base == other.base && self.memory.same_object(&other.memory)
    }

    /// Returns where a page begins in the memory.
    #[inline]
    pub(in crate::type1) fn offset(&self, page: u64) -> u64 {
        self.base.wrapping_add(page.wrapping_mul(PAGE_SIZE))
    }

    pub(in crate::type1) fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Chunk {
    /// Starts without a pin; most of the pages will belong to `run`.
    pub(super) fn new(run: Run) -> Self {
        Self { counts: Counts::All(0), pinned: 0, run, odd: BTreeMap::new(), excess: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pinned == 0
    }

    /// Returns how many pages are pinned.
    pub(super) fn pinned(&self) -> u64 {
        self.pinned
    }

    #[inline]
    pub(super) fn is_pinned(&self, page: u64) -> bool {
        match &self.counts {
            Counts::All(count) => *count > 0,
            Counts::Each(counts) => counts[slot(page)] > 0,
        }
    }

    /// Returns the run of a page that is pinned.
    #[inline]
    pub(super) fn run_of(&self, page: u64) -> Option<&Run> {
        self.is_pinned(page).then(|| self.odd.get(&page).unwrap_or(&self.run))
    }

    /// Counts the pinned pages of a part of the chunk.
    pub(super) fn count(&self, piece: &Range<u64>) -> u64 {
        match &self.counts {
            Counts::All(0) => 0,
            Counts::All(_) => piece.end - piece.start,
            Counts::Each(counts) => within(counts, piece).iter().filter(|count| **count > 0).count() as u64,
        }
    }

    /// Finds the first run of pinned pages in a part of the chunk.
    pub(super) fn first_pinned(&self, piece: &Range<u64>) -> Option<Range<u64>> {
        let counts = match &self.counts {
            Counts::All(0) => return None,
            Counts::All(_) => return Some(piece.clone()).filter(|piece| !piece.is_empty()),
            Counts::Each(counts) => within(counts, piece),
        };
        let skip = counts.iter().position(|count| *count > 0)?;
        let rest = &counts[skip..];
        let len = rest.iter().position(|count| *count == 0).unwrap_or(rest.len());
        let start = piece.start + skip as u64;
        Some(start..start + len as u64)
    }

    /// Pins pages of this chunk once more, which belong to `run` should they be new.
    pub(super) fn pin(&mut self, piece: Range<u64>, run: &Run) {
        let usual = self.run.is(run);
        if piece.end - piece.start == CHUNK_PAGES
            && let Counts::All(count) = &mut self.counts
            && *count < MOST
            && (usual || *count > 0)
        {
            *count += 1;
            self.pinned = CHUNK_PAGES;
            return;
        }
        for page in piece {
            self.pin_page(page, usual, run);
        }
    }

    /// Pins one page once more.
    #[inline]
    pub(super) fn pin_one(&mut self, page: u64, run: &Run) {
        let usual = self.run.is(run);
        self.pin_page(page, usual, run);
    }

    #[inline]
    fn pin_page(&mut self, page: u64, usual: bool, run: &Run) {
        let count = &mut self.each()[slot(page)];
        match *count {
            0 => {
                *count = 1;
                self.pinned += 1;
                if !usual {
                    self.odd.insert(page, run.clone());
                }
            }
            SATURATED => *self.excess.entry(page).or_insert(0) += 1,
            _ => *count += 1,
        }
    }

    /// Takes one pin off each pinned page of a part of the chunk; calls `freed` for those that have none left.
    pub(super) fn unpin(&mut self, piece: Range<u64>, freed: &mut impl FnMut(Range<u64>)) {
        if piece.end - piece.start == CHUNK_PAGES
            && let Counts::All(count @ 1..=MOST) = &mut self.counts
        {
            *count -= 1;
            if *count == 0 {
                self.pinned = 0;
                self.odd.clear();
                freed(piece);
            }
            return;
        }
        for page in piece {
            if self.unpin_one(page) {
                freed(page..page + 1);
            }
        }
    }

    /// Takes one pin off a page; tells whether it has none left now.
    #[inline]
    pub(super) fn unpin_one(&mut self, page: u64) -> bool {
        let count = self.each()[slot(page)];
        if count == 0 || (count == SATURATED && take_excess(&mut self.excess, page)) {
            return false;
        }
        self.each()[slot(page)] = count - 1;
        if count > 1 {
            return false;
        }
        self.pinned -= 1;
        if !self.odd.is_empty() {
            self.odd.remove(&page);
        }
        true
    }

    #[inline]
    fn each(&mut self) -> &mut [u8] {
        if let Counts::All(count) = self.counts {
            self.counts = Counts::Each(vec![count; CHUNK_PAGES as usize].into());
        }
        match &mut self.counts {
            Counts::Each(counts) => counts,
            Counts::All(_) => unreachable!("it was replaced"),
        }
    }

    /// Returns the bytes that the chunk takes.
    pub(super) fn bytes(&self) -> usize {
        let counts = match &self.counts {
            Counts::All(_) => 0,
            Counts::Each(counts) => counts.len(),
        };
        let odd = self.odd.len() * size_of::<(u64, Run)>();
        size_of::<Self>() + counts + odd + self.excess.len() * size_of::<(u64, u64)>()
    }
}

fn within<'a>(counts: &'a [u8], piece: &Range<u64>) -> &'a [u8] {
    if piece.is_empty() {
        return &[];
    }
    &counts[slot(piece.start)..][..(piece.end - piece.start) as usize]
}

#[inline]
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
