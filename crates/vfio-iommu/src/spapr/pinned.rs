//! Updates that pin their pages (version 1).

use std::ops::Range;

use vfio_memory::{HostSpan, Prot};
use vfio_uapi::Errno;

use super::{Tce, TceTable};

/// What a range of user memory is good for: the entries before the first that fails, and why that one does.
struct Found {
    spans: Vec<HostSpan>,
    /// First byte of `spans`.
    start: u64,
    entries: u64,
    refused: Option<Errno>,
}

impl TceTable {
    /// Pins the page of each entry, for writing whatever the rights, and sets the entry.
    ///
    /// # Errors
    /// `EFAULT` memory that is not there or not writable; `EPERM` a page behind it is smaller than the window's.
    pub(super) fn map_pinned(&self, range: Range<u64>, vaddr: u64, prot: Prot) -> Result<(), Errno> {
        let count = range.end - range.start;
        let found = self.find(vaddr, count)?;
        if let Some(errno) = found.refused {
            // Those before it were set and are cleared again, with what they replaced.
            self.clear_pinned(range.start..range.start + found.entries);
            return Err(errno);
        }
        let runs = match self.pin(&found, vaddr, count) {
            Ok(runs) => runs,
            Err(errno) => {
                self.clear_pinned(range.start..range.start);
                return Err(errno);
            }
        };
        let mut replaced = Vec::new();
        for (first, pages, real) in runs {
            self.radix.visit_or_make(range.start + first, pages, |leaf, slots, before| {
                for (slot, page) in slots.zip(before..) {
                    let tce = Tce::new(real + (page << self.geometry.page_shift), prot);
                    let old = Tce::from_be(leaf.exchange(slot, tce.to_be()));
                    if old.allows_any() {
                        replaced.push(old.real());
                    }
                }
            });
        }
        self.unpin(&replaced);
        Ok(())
    }

    pub(super) fn clear_pinned(&self, range: Range<u64>) {
        let mut gone = Vec::new();
        self.radix.visit(range.start, range.end - range.start, &mut |leaf, slots| {
            for slot in slots {
                let old = Tce::from_be(leaf.exchange(slot, Tce::NONE.to_be()));
                if old.allows_any() {
                    gone.push(old.real());
                }
            }
        });
        self.unpin(&gone);
    }

    /// Takes the pins of entries away, once no device can be using them.
    fn unpin(&self, pages: &[u64]) {
        if pages.is_empty() {
            return;
        }
        Self::synchronize();
        for &real in pages {
            self.memory.real().unpin(real, 1);
        }
    }

    /// Looks up the pages of `count` entries from `vaddr` on.
    fn find(&self, vaddr: u64, count: u64) -> Result<Found, Errno> {
        let shift = self.geometry.page_shift;
        let (page, mask) = (self.mm.page_size(), self.mm.page_size() - 1);
        let bytes = count.checked_mul(1 << shift).ok_or(Errno::EFAULT)?;
        let start = vaddr & !mask;
        let end = vaddr.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(page));
        let len = end.ok_or(Errno::EFAULT)? - start;
        let (spans, there, missing) = match self.mm.get_pages(start, len, true) {
            Ok(spans) => (spans, len, None),
            Err(stop) => (stop.spans, stop.done & !mask, Some(stop.errno)),
        };
        // An entry is refused for its first page only: a window page larger than the system's needs a huge one.
        let entry_at = |address: u64| address.saturating_sub(vaddr).div_ceil(1 << shift);
        let mut found = Found { spans, start, entries: count, refused: None };
        if missing.is_some() {
            found.entries = entry_at((start + there).max(vaddr)).min(count);
            if start + there <= vaddr {
                found.entries = 0;
            }
            found.refused = missing.filter(|_| found.entries < count);
        }
        let small = self.mm.backing(start, there).into_iter().find(|part| part.page_shift < shift);
        if let Some(part) = small {
            let first = entry_at(part.start);
            if first < found.entries {
                (found.entries, found.refused) = (first, Some(Errno::EPERM));
            }
        }
        Ok(found)
    }

    /// Pins the pages of all entries; returns runs of first entry, number of entries, real address.
    fn pin(&self, found: &Found, vaddr: u64, count: u64) -> Result<Vec<(u64, u64, u64)>, Errno> {
        let shift = self.geometry.page_shift;
        let end = vaddr + (count << shift);
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        let mut at = found.start;
        for span in &found.spans {
            let (first, last) = (at.max(vaddr), end.min(at + span.len));
            at += span.len;
            if first >= last {
                continue;
            }
            let (entry, pages) = ((first - vaddr) >> shift, (last - first).div_ceil(1 << shift));
            let pinned = self.memory.real().pin(span, pages).map(|real| real + (first - (at - span.len)));
            let aligned = pinned.is_ok_and(|real| real & (self.page_size() - 1) == 0);
            if let Ok(real) = pinned {
                runs.push((entry, pages, real));
            }
            if !aligned {
                runs.iter().for_each(|(_, pages, real)| self.memory.real().unpin(*real, *pages));
                return Err(pinned.err().unwrap_or(Errno::EPERM));
            }
        }
        Ok(runs)
    }
}
