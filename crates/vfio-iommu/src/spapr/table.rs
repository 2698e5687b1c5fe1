//! One DMA window: its entries, and what an address inside it leads to.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use vfio_memory::{AddressSpace, Prot};
use vfio_uapi::Errno;

use super::radix::Radix;
use super::{Registered, Tce};
use crate::{Iova, IovaRange, MapChange, MapHistory, epoch};

/// Describes a window.
#[derive(Debug, Clone)]
pub struct TceGeometry {
    /// First address, a multiple of the page.
    pub start: Iova,
    /// Base-two logarithm of the page.
    pub page_shift: u32,
    /// Number of entries.
    pub entries: u64,
    /// Bits that each level of the table decodes, from the top.
    pub level_bits: Vec<u32>,
    /// Keeps user addresses beside the entries, for registered memory; otherwise entries pin their pages.
    pub registered: bool,
    /// The hardware cannot forbid reading alone: writable is readable, too.
    pub write_implies_read: bool,
}

/// Translates the addresses of one window for any number of devices.
pub struct TceTable {
    pub(super) geometry: TceGeometry,
    pub(super) radix: Radix,
    pub(super) mm: Arc<AddressSpace>,
    pub(super) memory: Arc<Registered>,
    pub(super) history: MapHistory,
}

impl TceTable {
    /// Makes a window with no entry, for the memory of `mm`.
    ///
    /// # Errors
    /// `EINVAL` an impossible page, a start that is no multiple of it, or a window that reaches beyond 64 bits; `ENOMEM`
    /// levels that cannot hold the entries.
    pub fn new(geometry: TceGeometry, mm: &Arc<AddressSpace>) -> Result<Arc<Self>, Errno> {
        let TceGeometry { start, page_shift, entries, .. } = geometry;
        let fits = (12..=34).contains(&page_shift)
            && start & ((1 << page_shift) - 1) == 0
            && entries > 0
            && entries <= (u64::MAX - start) >> page_shift;
        if !fits {
            return Err(Errno::EINVAL);
        }
        let bits: u64 = geometry.level_bits.iter().map(|bits| u64::from(*bits)).sum();
        let radix = (bits < 64).then(|| Radix::new(&geometry.level_bits, geometry.registered));
        let radix = radix.filter(|radix| radix.capacity() >= entries).ok_or(Errno::ENOMEM)?;
        let memory = Registered::of(mm);
        Ok(Arc::new(Self { geometry, radix, mm: Arc::clone(mm), memory, history: MapHistory::default() }))
    }

    /// Describes the window.
    #[must_use]
    pub fn geometry(&self) -> &TceGeometry {
        &self.geometry
    }

    /// Returns the addresses of the window.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        let size = self.geometry.entries << self.geometry.page_shift;
        IovaRange::sized(self.geometry.start, size).expect("a window has entries and ends within 64 bits")
    }

    /// Returns the size of the window's pages.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        1 << self.geometry.page_shift
    }

    /// Returns the entry for an address; nothing outside the window.
    #[inline]
    #[must_use]
    pub fn entry(&self, iova: Iova) -> Option<Tce> {
        let index = iova.checked_sub(self.geometry.start)? >> self.geometry.page_shift;
        (index < self.geometry.entries).then(|| Tce::from_be(self.radix.load(index)))
    }

    /// Returns the numbers of `pages` entries from `iova` on.
    ///
    /// # Errors
    /// `EINVAL` not aligned, or not all inside the window.
    pub(super) fn indexes(&self, iova: Iova, pages: u64) -> Result<Range<u64>, Errno> {
        let offset = iova.checked_sub(self.geometry.start).ok_or(Errno::EINVAL)?;
        let first = offset >> self.geometry.page_shift;
        let end = first.checked_add(pages).filter(|end| *end <= self.geometry.entries);
        match end {
            Some(end) if offset & (self.page_size() - 1) == 0 => Ok(first..end),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Maps `pages` pages from user address `vaddr` on at `iova`, replacing what was there.
    ///
    /// # Errors
    /// `EINVAL` not aligned, not inside the window, or no right; then what the kind of table refuses with:
    /// see `pinned` and `registered`. Entries before one that fails are cleared, whatever they held before.
    pub fn map(&self, iova: Iova, vaddr: u64, pages: u64, prot: Prot) -> Result<(), Errno> {
        let range = self.indexes(iova, pages)?;
        if prot.is_empty() || vaddr & (self.page_size() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        if pages == 0 {
            return Ok(());
        }
        let readable = self.geometry.write_implies_read && prot.contains(Prot::WRITE);
        let prot = if readable { Prot::RW } else { prot };
        let result = if self.geometry.registered {
            self.map_registered(range, vaddr, prot)
        } else {
            self.map_pinned(range, vaddr, prot)
        };
        if result.is_ok() {
            self.note(MapChange::Mapped, iova, pages);
        }
        result
    }

    /// Clears `pages` entries from `iova` on; no device can use what they led to when this returns.
    ///
    /// # Errors
    /// `EINVAL` not aligned, or not inside the window.
    pub fn unmap(&self, iova: Iova, pages: u64) -> Result<(), Errno> {
        let range = self.indexes(iova, pages)?;
        self.clear_range(range);
        self.note(MapChange::Unmapped, iova, pages);
        Ok(())
    }

    /// Clears every entry.
    pub fn clear(&self) {
        self.clear_range(0..self.geometry.entries);
    }

    pub(super) fn clear_range(&self, range: Range<u64>) {
        if self.geometry.registered {
            self.clear_registered(range);
        } else {
            self.clear_pinned(range);
        }
    }

    fn note(&self, change: MapChange, iova: Iova, pages: u64) {
        if let Some(range) = IovaRange::sized(iova, pages << self.geometry.page_shift) {
            self.history.record(change, range);
        }
    }

    /// Waits until no device uses what was taken out before.
    pub(super) fn synchronize() {
        epoch::synchronize();
    }

    /// Finds the mapped runs next to an address: the one that begins at or below it, and the one above.
    pub(super) fn neighbours(&self, iova: Iova) -> (Option<IovaRange>, Option<IovaRange>) {
        /// Entries that a run is followed for.
        const LOOK: u64 = 4096;
        let TceGeometry { start, page_shift, entries, .. } = self.geometry;
        let allows = |stored: u64| Tce::from_be(stored).allows_any();
        let follow = |from: u64, step: i64| {
            let next = |at: u64| at.checked_add_signed(step).filter(|at| *at < entries);
            let mut at = from;
            for _ in 0..LOOK {
                let Some(further) = next(at).filter(|at| allows(self.radix.load(*at))) else { break };
                at = further;
            }
            at
        };
        let range = |first: u64, last: u64| {
            IovaRange::new(start + (first << page_shift), start + ((last + 1) << page_shift) - 1)
        };
        let at = (iova.saturating_sub(start) >> page_shift).min(entries - 1);
        let below = if iova < start { None } else { self.radix.nearest(at, false, allows) };
        let above = if iova < start && allows(self.radix.load(0)) {
            Some(0)
        } else {
            self.radix.nearest(at, true, allows)
        };
        (
            below.and_then(|last| range(follow(last, -1), last)),
            above.and_then(|first| range(first, follow(first, 1))),
        )
    }
}

impl Drop for TceTable {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for TceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TceTable").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
