//! The pins of all devices in one mapping.

use std::ops::Range;

use vfio_memory::HostSpan;

use super::DeviceId;
use super::ledger::{Ledger, Run};

/// Keeps a ledger for each device that pinned something, so that closing a device takes away just its own.
#[derive(Default)]
pub(super) struct Pins(Vec<(DeviceId, Ledger)>);

impl Pins {
    /// Tells whether no page is pinned.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_pinned(&self, page: u64) -> bool {
        self.0.iter().any(|(_, ledger)| ledger.is_pinned(page))
    }

    /// Returns the memory of a page that some device has pinned.
    pub(super) fn memory_of(&self, page: u64) -> Option<HostSpan> {
        self.0.iter().find_map(|(_, ledger)| ledger.memory_of(page))
    }

    /// Lists the pinned pages of a range as runs, a page that several devices pinned once for each.
    pub(super) fn pinned_in(&self, pages: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().flat_map(move |(_, ledger)| ledger.pinned_in(pages.clone()))
    }

    /// Counts the pages of a range that some device has pinned.
    pub(super) fn count(&self, pages: Range<u64>) -> u64 {
        let alone = |index: usize, page: u64| !self.0[..index].iter().any(|(_, other)| other.is_pinned(page));
        match self.0.as_slice() {
            [] => 0,
            [(_, ledger)] => ledger.count(pages),
            ledgers => (0..).zip(ledgers).fold(0, |sum, (index, (_, ledger))| {
                let pinned = ledger.pinned_in(pages.clone()).flatten();
                sum + pinned.filter(|page| alone(index, *page)).count() as u64
            }),
        }
    }

    /// Returns a run at the start of a range whose pages are all pinned or all free, and which. It may stop
    /// early; the next one goes on from there.
    pub(super) fn run(&self, pages: Range<u64>) -> (Range<u64>, bool) {
        let near = self.0.iter().filter_map(|(_, ledger)| ledger.next_chunk(pages.start));
        let near = near.min_by_key(|chunk| chunk.start).unwrap_or(pages.end..pages.end);
        if near.start > pages.start {
            return (pages.start..near.start.min(pages.end), false);
        }
        let pinned = self.is_pinned(pages.start);
        let scanned = pages.start..near.end.min(pages.end);
        let same = scanned.take_while(|page| self.is_pinned(*page) == pinned).count() as u64;
        (pages.start..pages.start + same, pinned)
    }

    /// Adds a pin of `device` to each page from `first` on; `span` is their memory.
    pub(super) fn pin(&mut self, device: DeviceId, first: u64, span: &HostSpan) {
        self.ledger_of(device).pin(first, span);
    }

    /// Adds a pin of `device` to one page, which belongs to `run` should nobody have pinned it.
    #[inline]
    pub(super) fn pin_one(&mut self, device: DeviceId, page: u64, run: &Run) {
        self.ledger_of(device).pin_one(page, run);
    }

    #[inline]
    fn ledger_of(&mut self, device: DeviceId) -> &mut Ledger {
        let index = self.0.iter().position(|(owner, _)| *owner == device).unwrap_or_else(|| {
            self.0.push((device, Ledger::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    /// Returns the run of a page that some device has pinned.
    #[inline]
    pub(super) fn run_of(&self, page: u64) -> Option<&Run> {
        self.0.iter().find_map(|(_, ledger)| ledger.run_of(page))
    }

    /// Takes one pin of `device` off a page; tells whether nobody has pinned it any more.
    #[inline]
    pub(super) fn unpin_one(&mut self, device: DeviceId, page: u64) -> bool {
        let Some(index) = self.0.iter().position(|(owner, _)| *owner == device) else { return false };
        let ledger = &mut self.0[index].1;
        let freed = ledger.unpin_one(page);
        if freed && ledger.is_empty() {
            self.0.swap_remove(index);
        }
        freed && !self.is_pinned(page)
    }

    /// Returns the bytes that counting takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, ledger)| ledger.bytes()).sum()
    }

    /// Takes one pin of `device` off each page of a range; returns how many pages nobody has pinned any more.
    pub(super) fn unpin(&mut self, device: DeviceId, pages: Range<u64>) -> u64 {
        let Some(index) = self.0.iter().position(|(owner, _)| *owner == device) else { return 0 };
        let (_, mut ledger) = self.0.swap_remove(index);
        let mut free = 0;
        ledger.unpin(pages, |freed| free += freed.end - freed.start - self.count(freed));
        if !ledger.is_empty() {
            self.0.push((device, ledger));
        }
        free
    }

    /// Takes every pin of `device`; returns how many pages nobody has pinned any more.
    pub(super) fn drop_device(&mut self, device: DeviceId) -> u64 {
        let before = self.count(0..u64::MAX);
        self.0.retain(|(owner, _)| *owner != device);
        before - self.count(0..u64::MAX)
    }
}
