//! Updates that lead to registered memory (version 2): nothing is looked up in the process, nothing is pinned.

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
        let mut replaced = Replaced::default();
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
                        let old = Tce::from_be(leaf.exchange(slot, Tce::new(real + by, prot).to_be()));
                        let user = leaf.exchange_user(slot, ua + (run << shift) + by);
                        if old.allows_any() {
                            replaced.add(user);
                        }
                    }
                });
                run += pages;
            }
            done += inside;
        }
        replaced.settle(&mut regions, shift);
        drop(regions);
        self.settled(&replaced);
        Ok(())
    }

    pub(super) fn clear_registered(&self, range: Range<u64>) {
        let mut regions = self.memory.lock();
        let mut gone = Replaced::default();
        self.take(range, |user, _| gone.add(user));
        gone.settle(&mut regions, self.geometry.page_shift);
        drop(regions);
        self.settled(&gone);
    }

    /// Lets nobody use what was taken out, then lets regions go that this freed.
    fn settled(&self, gone: &Replaced) {
        if gone.users.is_empty() {
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

/// User addresses of entries that are no more.
#[derive(Default)]
struct Replaced {
    users: Vec<u64>,
    /// A region may have become idle.
    freed: bool,
}

impl Replaced {
    fn add(&mut self, user: u64) {
        self.users.push(user);
    }

    /// Takes the entries off the counts of their regions, found through the user addresses.
    fn settle(&mut self, regions: &mut Regions, shift: u32) {
        let mut rest = &self.users[..];
        while let Some(&user) = rest.first() {
            let Some(region) = regions.containing(user, 1 << shift) else {
                rest = &rest[1..];
                continue;
            };
            let run = rest.iter().take_while(|user| region.covers(**user, 1 << shift)).count();
            region.mapped = region.mapped.saturating_sub(run as u64);
            self.freed |= region.mapped == 0 && region.used == 0;
            rest = &rest[run..];
        }
    }
}
