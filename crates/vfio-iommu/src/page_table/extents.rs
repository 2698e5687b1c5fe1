//! Which memory objects the leaves of a table lead to, so that they live as long as they are mapped.
//!
//! A leaf has no room for a handle, so handles are kept here by host address, with the number of bytes that
//! are mapped from each. Two borrowed objects may lie at the same addresses (two handles to one
//! SharedArrayBuffer): overlapping objects share an extent and leave together.

use std::collections::BTreeMap;

use vfio_memory::Memory;

/// A run of host addresses, and the objects that keep it alive.
struct Extent {
    /// Past the last byte.
    end: u64,
    mapped: u64,
    owners: BTreeMap<usize, Memory>,
}

/// Where the extent used last is; mapping page after page of one object looks it up once.
#[derive(Clone, Copy)]
struct Recent {
    base: u64,
    end: u64,
    index: usize,
    object: usize,
}

/// Keeps memory objects alive by the bytes mapped from them.
#[derive(Default)]
pub(super) struct Extents {
    by_base: BTreeMap<u64, usize>,
    extents: Vec<Extent>,
    vacant: Vec<usize>,
    recent: Option<Recent>,
}

impl Extents {
    /// Books `len` bytes of `memory`, whose first byte lies at `base`, as mapped.
    pub(super) fn acquire(&mut self, memory: &Memory, base: u64, len: u64) {
        if !self.acquire_again(memory, len) {
            self.acquire_slow(memory, base, len);
        }
    }

    /// Books `len` bytes of the memory that was booked last; false where it is another.
    #[inline(always)]
    pub(super) fn acquire_again(&mut self, memory: &Memory, len: u64) -> bool {
        let Some(recent) = self.recent.filter(|recent| recent.object == memory.object_id()) else {
            return false;
        };
        let Some(extent) = self.extents.get_mut(recent.index) else { return false };
        extent.mapped += len;
        true
    }

    #[inline(never)]
    fn acquire_slow(&mut self, memory: &Memory, base: u64, len: u64) {
        let object = memory.object_id();
        let owners = BTreeMap::from([(object, memory.clone())]);
        let mut joined = Extent { end: base + memory.len(), mapped: len, owners };
        let mut first = base;
        while let Some((&at, &index)) = self.by_base.range(..joined.end).next_back() {
            if self.extents[index].end <= first {
                break;
            }
            let mut extent = self.remove(at, index);
            first = first.min(at);
            joined.end = joined.end.max(extent.end);
            joined.mapped += extent.mapped;
            joined.owners.append(&mut extent.owners);
        }
        let end = joined.end;
        let index = self.vacant.pop().unwrap_or(self.extents.len());
        if index == self.extents.len() {
            self.extents.push(joined);
        } else {
            self.extents[index] = joined;
        }
        self.by_base.insert(first, index);
        self.recent = Some(Recent { base: first, end, index, object });
    }

    /// Tells whether a leaf at `host` may be joined to one that ends right before it: both in one extent.
    pub(super) fn joins(&self, host: u64) -> bool {
        self.find(host).is_some_and(|recent| recent.base < host)
    }

    /// Takes `len` bytes at `host` out of the books; objects of which nothing is mapped any more go to `gone`.
    pub(super) fn release(&mut self, mut host: u64, mut len: u64, gone: &mut Vec<Memory>) {
        while len > 0 {
            let found = self.find(host).expect("every mapped byte lies in an extent");
            let part = len.min(found.end - host);
            let extent = &mut self.extents[found.index];
            extent.mapped -= part;
            if extent.mapped == 0 {
                gone.extend(self.remove(found.base, found.index).owners.into_values());
            }
            host += part;
            len -= part;
        }
    }

    #[inline]
    fn find(&self, host: u64) -> Option<Recent> {
        if let Some(recent) = self.recent.filter(|recent| (recent.base..recent.end).contains(&host)) {
            return Some(recent);
        }
        let (&base, &index) = self.by_base.range(..=host).next_back()?;
        let end = self.extents[index].end;
        (host < end).then_some(Recent { base, end, index, object: 0 })
    }

    fn remove(&mut self, base: u64, index: usize) -> Extent {
        self.by_base.remove(&base);
        self.vacant.push(index);
        self.recent = None;
        std::mem::replace(&mut self.extents[index], Extent { end: 0, mapped: 0, owners: BTreeMap::new() })
    }
}
