//! Translations that the IOMMU remembers of a guest's table, until it is told to forget them.

use std::collections::{BTreeMap, VecDeque};

use vfio_memory::Prot;

use super::format::level_shift;
use crate::{Iova, IovaRange};

/// Most translations that are remembered.
const CAPACITY: usize = 1024;
/// Levels that have leaves: 4 KiB, 2 MiB, 1 GiB.
const LEAF_LEVELS: u32 = 3;

/// Where a page of guest addresses leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// The level of the leaf, which says how large the page is.
    pub(super) level: u32,
    /// Guest physical address of the page.
    pub(super) page: u64,
    pub(super) prot: Prot,
    /// A write needs not to be noted in the leaf any more.
    pub(super) dirty: bool,
}

impl Hit {
    /// Returns the guest physical address of `iova`, and how many bytes follow in the page, itself included.
    pub(super) fn at(&self, iova: Iova) -> (u64, u64) {
        let size = 1_u64 << level_shift(self.level);
        let within = iova & (size - 1);
        (self.page + within, size - within)
    }
}

/// The cache; the oldest translation makes room for a new one.
#[derive(Default)]
pub(super) struct Tlb {
    pages: BTreeMap<(u64, u32), Hit>,
    order: VecDeque<(u64, u32)>,
}

impl Tlb {
    /// Finds the translation of an address.
    pub(super) fn find(&self, iova: Iova) -> Option<Hit> {
        (0..LEAF_LEVELS).find_map(|level| self.pages.get(&(iova >> level_shift(level), level)).copied())
    }

    /// Remembers the translation of an address.
    pub(super) fn insert(&mut self, iova: Iova, hit: Hit) {
        let key = (iova >> level_shift(hit.level), hit.level);
        if self.pages.insert(key, hit).is_none() {
            self.order.push_back(key);
        }
        while self.pages.len() > CAPACITY {
            let Some(oldest) = self.order.pop_front() else { return };
            self.pages.remove(&oldest);
        }
    }

    /// Forgets every translation that touches a range.
    pub(super) fn forget(&mut self, range: IovaRange) {
        self.pages.retain(|(page, level), _| {
            let start = page << level_shift(*level);
            let last = start | ((1 << level_shift(*level)) - 1);
            last < range.start() || start > range.last()
        });
        self.order.retain(|key| self.pages.contains_key(key));
    }

    /// Returns how many translations are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.order.len(), self.pages.len());
        self.pages.len()
    }
}
