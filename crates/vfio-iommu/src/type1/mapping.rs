//! One mapping: what `VFIO_IOMMU_MAP_DMA` made.

use parking_lot::Mutex;
use vfio_memory::{HostSpan, PAGE_SHIFT, Prot};
use vfio_uapi::Errno;

use super::bitmap::DirtyBitmap;
use super::owner::Owner;
use super::pins::Pins;
use crate::{Iova, IovaRange};

/// Keeps everything that is known of one mapping.
pub(super) struct Mapping {
    pub(super) range: IovaRange,
    pub(super) vaddr: u64,
    pub(super) prot: Prot,
    /// `vaddr` was taken away (`VFIO_DMA_UNMAP_FLAG_VADDR`) and no new one was given yet.
    pub(super) vaddr_invalid: bool,
    owner: Owner,
    /// Pages charged to the owner: all while hardware can reach the mapping, else those that drivers pinned.
    charged: u64,
    /// Exists while dirty pages are tracked. Writes by drivers mark it under the domain's read lock.
    pub(super) dirty: Mutex<Option<DirtyBitmap>>,
    pub(super) pins: Pins,
}

impl Mapping {
    pub(super) fn new(range: IovaRange, vaddr: u64, prot: Prot, owner: Owner) -> Self {
        Self {
            range,
            vaddr,
            prot,
            vaddr_invalid: false,
            owner,
            charged: 0,
            dirty: Mutex::new(None),
            pins: Pins::default(),
        }
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Returns the size in pages of the machine.
    pub(super) fn pages(&self) -> u64 {
        self.range.size() >> PAGE_SHIFT
    }

    /// Returns the number of the page that holds `iova`, counted from the start of the mapping.
    pub(super) fn page_of(&self, iova: Iova) -> u64 {
        (iova - self.range.start()) >> PAGE_SHIFT
    }

    /// Returns the user address behind `iova`.
    pub(super) fn vaddr_of(&self, iova: Iova) -> u64 {
        self.vaddr + (iova - self.range.start())
    }

    /// Charges pages to the owner.
    ///
    /// # Errors
    /// `ENOMEM` over the limit; nothing is charged then.
    pub(super) fn charge(&mut self, pages: u64) -> Result<(), Errno> {
        self.owner.charge(pages)?;
        self.charged += pages;
        Ok(())
    }

    /// Gives pages back, but never more than were charged.
    pub(super) fn uncharge(&mut self, pages: u64) {
        let pages = pages.min(self.charged);
        self.owner.uncharge(pages);
        self.charged -= pages;
    }

    /// Gives everything back but the pages that drivers hold (`vfio_iommu_unmap_unpin_reaccount`).
    pub(super) fn keep_driver_pins(&mut self) {
        let pinned = self.pins.count(0..self.pages());
        self.uncharge(self.charged.saturating_sub(pinned));
    }

    /// Gives every charge back.
    pub(super) fn uncharge_all(&mut self) {
        self.uncharge(self.charged);
    }

    /// Looks the whole mapping up in its process and charges it, save what drivers have pinned already.
    ///
    /// # Errors
    /// In order of address: `ENOMEM` the page that goes over the limit, `EFAULT` the page that is not there
    /// or lacks a right. Nothing is charged then.
    pub(super) fn pin_all(&mut self) -> Result<Vec<HostSpan>, Errno> {
        let write = self.prot.contains(Prot::WRITE);
        let found = self.owner.mm.get_frames(self.vaddr, self.range.size(), write);
        let found_pages = found.as_ref().map_or_else(|stop| stop.done >> PAGE_SHIFT, |_| self.pages());
        let fresh = found_pages - self.pins.count(0..found_pages);
        self.charge(fresh)?;
        found.map_err(|stop| {
            self.uncharge(fresh);
            stop.errno
        })
    }

    /// Moves the charge to another process, which gives the memory from now on.
    ///
    /// # Errors
    /// `ENOMEM` over that process' limit; nothing changes then.
    pub(super) fn change_owner(&mut self, owner: Owner) -> Result<(), Errno> {
        owner.charge(self.charged)?;
        self.owner.uncharge(self.charged);
        self.owner = owner;
        Ok(())
    }

    /// Marks bytes as dirty, if dirty pages are tracked.
    pub(super) fn mark_dirty(&self, range: IovaRange) {
        if let Some(bitmap) = &mut *self.dirty.lock() {
            bitmap.set(self.page_of(range.start())..self.page_of(range.last()) + 1);
        }
    }
}
