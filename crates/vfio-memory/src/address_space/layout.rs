//! The ordered set of areas: placing, cutting, walking.

use super::*;

/// Where the search for a free address starts.
const BASE: u64 = 0x7f00_0000_0000;
/// The lowest address that the second search, from the bottom, will use.
const LOWEST: u64 = 0x1_0000;

/// Keeps areas that do not overlap, ordered by address.
#[derive(Debug)]
pub(super) struct Areas {
    by_start: BTreeMap<u64, Vma>,
    next: u64,
    page: u64,
}

impl Areas {
    /// Starts with nothing mapped, on a system with pages of `page` bytes.
    pub(super) fn new(page: u64) -> Self {
        Self { by_start: BTreeMap::new(), next: BASE, page }
    }

    pub(super) fn insert(&mut self, start: u64, area: Vma) {
        self.by_start.insert(start, area);
    }

    /// Chooses an address for `len` bytes.
    pub(super) fn place(&mut self, hint: Option<u64>, align: u64, len: u64) -> Option<u64> {
        let len = len.checked_next_multiple_of(self.page)?;
        if let Some(at) = hint.filter(|at| at % align == 0 && self.is_free(*at, len)) {
            return Some(at);
        }
        let at = self.search(self.next, align, len).or_else(|| self.search(LOWEST, align, len))?;
        // One page stays free between areas, so running over an end faults.
        self.next = at + len + self.page;
        Some(at)
    }

    fn is_free(&self, at: u64, len: u64) -> bool {
        at.checked_add(len).is_some_and(|end| end <= TASK_SIZE && self.in_range(at, end).next().is_none())
    }

    /// Finds the first free place at or after `from`.
    fn search(&self, from: u64, align: u64, len: u64) -> Option<u64> {
        let mut at = from.checked_next_multiple_of(align)?;
        loop {
            let end = at.checked_add(len).filter(|end| *end <= TASK_SIZE)?;
            let Some((start, area)) = self.in_range(at, end).next() else { return Some(at) };
            at = (start + area.len + self.page).checked_next_multiple_of(align)?;
        }
    }

    /// Lists the areas that touch `start..end`.
    pub(super) fn in_range(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Vma)> {
        let first = self.by_start.range(..=start).next_back();
        let from = first.filter(|(at, area)| **at + area.len > start).map_or(start, |(at, _)| *at);
        self.by_start.range(from..end.max(from)).map(|(at, area)| (*at, area))
    }

    /// Tells whether areas cover every page of `start..end`.
    pub(super) fn covered(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for (from, area) in self.in_range(start, end) {
            if from > at {
                return false;
            }
            at = (from + area.len).next_multiple_of(self.page);
        }
        at >= end
    }

    /// Cuts the area that contains `at` in two there.
    fn cut(&mut self, at: u64) {
        let Some((&start, area)) = self.by_start.range_mut(..at).next_back() else { return };
        if start + area.len > at {
            let head = at - start;
            let tail = area.piece(head, area.len - head);
            area.len = head;
            self.by_start.insert(at, tail);
        }
    }

    /// Removes and returns what lies in `start..end`.
    pub(super) fn take(&mut self, start: u64, end: u64) -> Vec<(u64, Vma)> {
        self.cut(start);
        self.cut(end);
        let starts: Vec<u64> = self.by_start.range(start..end).map(|(at, _)| *at).collect();
        starts.into_iter().filter_map(|at| self.by_start.remove_entry(&at)).collect()
    }

    /// Applies `edit` to exactly the pieces in `start..end`.
    pub(super) fn change(&mut self, start: u64, end: u64, mut edit: impl FnMut(&mut Vma)) {
        self.cut(start);
        self.cut(end);
        self.by_start.range_mut(start..end).for_each(|(_, area)| edit(area));
    }

    /// Visits the memory behind `addr..addr + len` piece by piece, in order.
    ///
    /// # Errors
    /// `EFAULT` at the first byte that has no area or not the access `wanted`; or what `visit` says.
    pub(super) fn walk(
        &self,
        addr: u64,
        len: u64,
        wanted: Prot,
        mut visit: impl FnMut(HostSpan) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let end = addr.checked_add(len).filter(|end| *end <= TASK_SIZE).ok_or(Errno::EFAULT)?;
        let mut at = addr;
        for (start, area) in self.in_range(addr, end) {
            if start > at || at >= end || !area.prot.contains(wanted) {
                break;
            }
            let stop = end.min(start + area.len);
            visit(area.span(at - start, stop - at))?;
            at = stop;
        }
        if at < end { Err(Errno::EFAULT) } else { Ok(()) }
    }
}
