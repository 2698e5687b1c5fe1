//! Updates that lead to registered memory (version 2): nothing is looked up in the process, nothing is pinned.
//!
//! They take turns by the registry's lock.

use std::ops::Range;

use vfio_memory::Prot;
use vfio_uapi::Errno;

use super::registry::Regions;
use super::{Tce, TceTable};

impl TceTable {
    /// Sets entries to pages of registered memory.
    ///
    /// # Errors
    /// `EINVAL` a page lies in no region entirely, or in one that offers smaller pages only.
    pub(super) fn map_registered(&self, range: Range<u64>, vaddr: u64, prot: Prot) -> Result<(), Errno> {
        let (shift, count) = (self.geometry.page_shift, range.end - range.start);
        let mut regions = self.memory.lock();
        let good = self.registered_pages(&mut regions, vaddr, count);
        if good < count {
            drop(regions);
            // Those before it were set and are cleared again, with what they replaced.
            self.clear_registered(range.start..range.start + good);
            return Err(Errno::EINVAL);
        }
        let mut replaced = Replaced::new(shift);
        let mut done = 0;
        while done < count {
            let ua = vaddr + (done << shift);
            let region = regions.containing(ua, 1 << shift).ok_or(Errno::EINVAL)?;
            let inside = ((region.ua + region.len - ua) >> shift).min(count - done);
            region.mapped += inside;
            let mut run = 0;
            while run < inside {
                let (real, pages) = region.run(ua + (run << shift), shift, inside - run);
                self.radix.visit_or_make(range.start + done + run, pages, |leaf, slots, before| {
                    for (slot, page) in slots.zip(before..) {
                        let by = page << shift;
                        let tce = Tce::new(real + by, prot);
                        let (old, user) = leaf.replace(slot, tce.to_be(), ua + (run << shift) + by);
                        let old = Tce::from_be(old);
                        if old.allows_any() {
                            replaced.add(user);
                        }
                    }
                });
                run += pages;
            }
            done += inside;
        }
        replaced.settle(&mut regions);
        drop(regions);
        self.settled(&replaced);
        Ok(())
    }

    pub(super) fn clear_registered(&self, range: Range<u64>) {
        let mut regions = self.memory.lock();
        let mut gone = Replaced::new(self.geometry.page_shift);
        self.radix.visit(range.start, range.end - range.start, &mut |leaf, slots| {
            for slot in slots {
                let (old, user) = leaf.replace(slot, Tce::NONE.to_be(), 0);
                if Tce::from_be(old).allows_any() {
                    gone.add(user);
                }
            }
        });
        gone.settle(&mut regions);
        drop(regions);
        self.settled(&gone);
    }

    /// Lets nobody use what was taken out, then lets regions go that this freed.
    fn settled(&self, gone: &Replaced) {
        if gone.runs.is_empty() {
            return;
        }
        Self::synchronize();
        if gone.freed {
            self.memory.sweep(&self.mm);
        }
    }

    /// Counts the pages from `vaddr` on that entries may lead to, up to `count`.
    fn registered_pages(&self, regions: &mut Regions, vaddr: u64, count: u64) -> u64 {
        let shift = self.geometry.page_shift;
        let mut good = 0;
        while good < count {
            let Some(ua) = good.checked_shl(shift).and_then(|by| vaddr.checked_add(by)) else { break };
            let Some(region) = regions.containing(ua, 1 << shift) else { break };
            if region.page_shift < shift {
                break;
            }
            good += (region.ua + region.len - ua) >> shift;
        }
        good.min(count)
    }
}

/// User addresses of entries that are no more, as runs of neighbouring pages.
struct Replaced {
    shift: u32,
    /// First address and number of pages of each run.
    runs: Vec<(u64, u64)>,
    /// A region may have become idle.
    freed: bool,
}

impl Replaced {
    fn new(shift: u32) -> Self {
        Self { shift, runs: Vec::new(), freed: false }
    }

    #[inline]
    fn add(&mut self, user: u64) {
        match self.runs.last_mut() {
            Some((start, pages)) if *start + (*pages << self.shift) == user => *pages += 1,
            _ => self.runs.push((user, 1)),
        }
    }

    /// Takes the entries off the counts of their regions, found through the user addresses.
    fn settle(&mut self, regions: &mut Regions) {
        for &(start, pages) in &self.runs {
            let mut done = 0;
            while done < pages {
                let user = start + (done << self.shift);
                let Some(region) = regions.containing(user, 1 << self.shift) else {
                    done += 1;
                    continue;
                };
                let inside = ((region.ua + region.len - user) >> self.shift).min(pages - done);
                region.mapped = region.mapped.saturating_sub(inside);
                self.freed |= region.mapped == 0 && region.used == 0;
                done += inside;
            }
        }
    }
}
