//! The registered memory of one process, which all its containers share (`mm_iommu`).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use vfio_memory::AddressSpace;
use vfio_uapi::Errno;

use super::RealMemory;
use super::region::Region;

/// Pages that are looked up in one go: as many as a block of pointers holds that the page allocator can give.
const CHUNK: u64 = (16 << 20) / 8;

/// Names a region of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub u64);

/// Says what became of a request to register memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// There is a region now, with one holder.
    Made(RegionId),
    /// The end of the range is missing: nothing is registered. The kernel answers with the number of pages that it
    /// found before it, in the piece that it looked up last.
    Partial(u64),
}

/// Keeps what a process has registered, and the real addresses of all its pinned memory.
#[derive(Debug, Default)]
pub struct Registered {
    regions: Mutex<Regions>,
    real: RealMemory,
}

/// Regions by first address; they do not overlap.
#[derive(Debug, Default)]
pub(super) struct Regions {
    by_start: BTreeMap<u64, Region>,
    next_id: u64,
}

impl Registered {
    /// Returns what `mm` has registered.
    #[must_use]
    pub fn of(mm: &AddressSpace) -> Arc<Self> {
        mm.extension(Self::default)
    }

    /// Returns the real addresses of the process' memory.
    #[must_use]
    pub fn real(&self) -> &RealMemory {
        &self.real
    }

    /// Finds the region of exactly that start and length.
    #[must_use]
    pub fn find(&self, ua: u64, len: u64) -> Option<RegionId> {
        let regions = self.regions.lock();
        regions.by_start.get(&ua).filter(|region| region.len == len).map(|region| RegionId(region.id))
    }

    /// Adds a holder to a region.
    ///
    /// # Errors
    /// `ENOENT` it is gone.
    pub fn get(&self, id: RegionId) -> Result<(), Errno> {
        let mut regions = self.regions.lock();
        regions.named(id).map(|region| region.used += 1).ok_or(Errno::ENOENT)
    }

    /// Takes a holder off a region. The last one lets its pages go and gives their charge back, unless entries still
    /// lead there: then the region stays, as if held, and with `keeps_orphans` for ever.
    ///
    /// # Errors
    /// `ENOENT` it is gone; `EBUSY` entries still lead there.
    pub fn put(&self, mm: &AddressSpace, id: RegionId, keeps_orphans: bool) -> Result<(), Errno> {
        let mut regions = self.regions.lock();
        let region = regions.named(id).ok_or(Errno::ENOENT)?;
        region.used = region.used.saturating_sub(1);
        if region.used > 0 {
            return Ok(());
        }
        if region.mapped > 0 {
            region.used = u64::from(keeps_orphans);
            return Err(Errno::EBUSY);
        }
        let ua = region.ua;
        self.release(mm, regions, ua);
        Ok(())
    }

    /// Lets regions go that nobody holds and no entry leads to: those that `put` left behind without keeping them.
    pub(super) fn sweep(&self, mm: &AddressSpace) {
        loop {
            let regions = self.regions.lock();
            let idle = |region: &&Region| region.used == 0 && region.mapped == 0;
            let Some(ua) = regions.by_start.values().find(idle).map(|region| region.ua) else { return };
            self.release(mm, regions, ua);
        }
    }

    fn release(&self, mm: &AddressSpace, mut regions: MutexGuard<'_, Regions>, ua: u64) {
        let gone = regions.by_start.remove(&ua);
        drop(regions);
        if let Some(region) = gone {
            region.unpin(&self.real);
            mm.locked().uncharge(region.len >> mm.page_shift());
        }
    }

    /// Pins a range, charges its pages and makes it a region with one holder.
    ///
    /// # Errors
    /// `EINVAL` not whole pages; `ENOMEM` over the locked-memory limit, or nothing to register; `EFAULT` memory that is
    /// not there or not writable, the first page or a whole piece of `CHUNK` pages; `EINVAL` overlaps another region.
    pub fn register(&self, mm: &AddressSpace, ua: u64, len: u64) -> Result<Registration, Errno> {
        if (ua | len) & (mm.page_size() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let pages = len >> mm.page_shift();
        mm.locked().charge(pages)?;
        let made = self.pin(mm, ua, len);
        if !matches!(made, Ok(Registration::Made(_))) {
            mm.locked().uncharge(pages);
        }
        made
    }

    fn pin(&self, mm: &AddressSpace, ua: u64, len: u64) -> Result<Registration, Errno> {
        if len == 0 {
            return Err(Errno::ENOMEM);
        }
        let spans = match mm.get_pages(ua, len, true) {
            Ok(spans) => spans,
            Err(stop) => {
                let tail = (stop.done >> mm.page_shift()) % CHUNK;
                return if tail == 0 { Err(stop.errno) } else { Ok(Registration::Partial(tail)) };
            }
        };
        let mut regions = self.regions.lock();
        if regions.by_start.values().any(|region| region.overlaps(ua, len)) {
            return Err(Errno::EINVAL);
        }
        regions.next_id += 1;
        let id = regions.next_id;
        let region = Region::pin(mm, &self.real, id, ua, len, &spans)?;
        regions.by_start.insert(ua, region);
        Ok(Registration::Made(RegionId(id)))
    }

    /// Returns how many regions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.regions.lock().by_start.len()
    }

    /// Tells whether nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds the regions for a series of updates.
    pub(super) fn lock(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock()
    }
}

impl Regions {
    fn named(&mut self, id: RegionId) -> Option<&mut Region> {
        self.by_start.values_mut().find(|region| region.id == id.0)
    }

    /// Finds the region that contains `len` bytes at `ua`.
    pub(super) fn containing(&mut self, ua: u64, len: u64) -> Option<&mut Region> {
        let (_, region) = self.by_start.range_mut(..=ua).next_back()?;
        region.covers(ua, len).then_some(region)
    }
}
