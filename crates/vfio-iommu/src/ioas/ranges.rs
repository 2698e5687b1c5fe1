//! Which IOVAs can be used: reserved ranges, ranges that are allowed to be chosen, and their alignment.

use std::sync::Arc;

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::Ioas;
use super::access::AccessPoint;
use super::domain::PagingDomain;
use super::state::State;
use crate::IovaRange;

/// Says on whose behalf a range is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reserver {
    /// Nobody's: it stays.
    Nobody,
    /// A device's; the caller chooses the number.
    Device(u64),
    /// A domain's.
    Domain(usize),
}

/// What may be mapped.
#[derive(Default)]
pub(super) struct Ranges {
    reserved: Vec<(IovaRange, Reserver)>,
    /// Disjoint and ordered; empty allows everything.
    allowed: Vec<IovaRange>,
    alignment: Alignment,
}

/// Every IOVA of an area is a multiple of it.
struct Alignment(u64);

impl Default for Alignment {
    fn default() -> Self {
        Self(1)
    }
}

impl Ranges {
    pub(super) fn alignment(&self) -> u64 {
        self.alignment.0
    }

    pub(super) fn is_reserved(&self, range: IovaRange) -> bool {
        self.reserved.iter().any(|(reserved, _)| reserved.overlaps(range))
    }

    /// Returns the ranges that are allowed to be chosen, adjacent ones as one; `None` when all are.
    pub(super) fn allowed(&self) -> Option<Vec<IovaRange>> {
        (!self.allowed.is_empty()).then(|| join(self.allowed.clone()))
    }

    /// Returns the reserved ranges in order, those that touch as one.
    pub(super) fn reserved(&self) -> Vec<IovaRange> {
        let mut ranges: Vec<_> = self.reserved.iter().map(|(range, _)| *range).collect();
        ranges.sort_unstable();
        join(ranges)
    }

    /// Returns what is not reserved.
    fn usable(&self) -> Vec<IovaRange> {
        let mut usable = Vec::new();
        let mut next = Some(0);
        for range in self.reserved() {
            let below = range.start().checked_sub(1);
            usable.extend(next.zip(below).and_then(|(start, last)| IovaRange::new(start, last)));
            next = range.last().checked_add(1);
        }
        usable.extend(next.and_then(|start| IovaRange::new(start, u64::MAX)));
        usable
    }
}

/// Joins ordered ranges that overlap or touch.
fn join(ranges: Vec<IovaRange>) -> Vec<IovaRange> {
    let mut joined: Vec<IovaRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.last() >= range.start() || last.last() + 1 == range.start() => {
                let end = last.last().max(range.last());
                *last = IovaRange::new(last.start(), end).expect("it only grows");
            }
            _ => joined.push(range),
        }
    }
    joined
}

impl State {
    /// Reserves a range.
    ///
    /// # Errors
    /// `EADDRINUSE` something is mapped there, or it is allowed to be chosen.
    pub(super) fn reserve(&mut self, range: IovaRange, reserver: Reserver) -> Result<(), Errno> {
        let allowed = self.ranges.allowed.iter().any(|allowed| allowed.overlaps(range));
        if allowed || self.areas.first_in(range).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        self.ranges.reserved.push((range, reserver));
        Ok(())
    }

    pub(super) fn unreserve(&mut self, reserver: Reserver) {
        self.ranges.reserved.retain(|(_, owner)| *owner != reserver);
    }

    /// Makes everything lie on multiples of `alignment` from now on.
    ///
    /// # Errors
    /// `EADDRINUSE` an area does not.
    pub(super) fn check_alignment(&self, alignment: u64) -> Result<(), Errno> {
        let fits =
            alignment <= self.ranges.alignment() || self.areas.iter().all(|area| area.is_aligned(alignment));
        if fits { Ok(()) } else { Err(Errno::EADDRINUSE) }
    }

    /// Derives the alignment from what is attached.
    ///
    /// # Errors
    /// `EADDRINUSE` an area does not fit it; it stays as it was then.
    pub(super) fn align(&mut self) -> Result<(), Errno> {
        let least = if self.small_pages { PAGE_SIZE } else { 1 };
        let domains = self.domains.iter().map(|domain| domain.alignment());
        let accesses = self.accesses.iter().map(|access| access.alignment());
        let alignment = domains.chain(accesses).fold(least, u64::max);
        self.check_alignment(alignment)?;
        self.ranges.alignment = Alignment(alignment);
        Ok(())
    }
}

impl Ioas {
    /// Returns the ranges that are not reserved, and the alignment of mappings (`IOMMU_IOAS_IOVA_RANGES`).
    #[must_use]
    pub fn iova_ranges(&self) -> (Vec<IovaRange>, u64) {
        let state = self.0.state.read();
        (state.ranges.usable(), state.ranges.alignment())
    }

    /// Says where IOVAs may be chosen, and that nobody may reserve there (`IOMMU_IOAS_ALLOW_IOVAS`); an empty list
    /// allows everything.
    ///
    /// # Errors
    /// `EINVAL` two ranges overlap; `EADDRINUSE` part of them is reserved. Nothing changes then.
    pub fn allow(&self, mut allowed: Vec<IovaRange>) -> Result<(), Errno> {
        allowed.sort_unstable();
        if allowed.windows(2).any(|pair| pair[0].overlaps(pair[1])) {
            return Err(Errno::EINVAL);
        }
        let mut state = self.0.state.write();
        if allowed.iter().any(|range| state.ranges.is_reserved(*range)) {
            return Err(Errno::EADDRINUSE);
        }
        state.ranges.allowed = allowed;
        Ok(())
    }

    /// Reserves ranges: nothing can be mapped there.
    ///
    /// # Errors
    /// `EADDRINUSE` something is mapped there, or it is allowed to be chosen; nothing is reserved for this reserver
    /// then.
    pub fn reserve(&self, ranges: &[IovaRange], reserver: Reserver) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        let reserved = ranges.iter().try_for_each(|range| state.reserve(*range, reserver));
        if reserved.is_err() && reserver != Reserver::Nobody {
            state.unreserve(reserver);
        }
        reserved
    }

    /// Takes back what a device or domain has reserved.
    pub fn unreserve(&self, reserver: Reserver) {
        self.0.state.write().unreserve(reserver);
    }

    /// Tells whether mappings are joined into large pages (`IOMMU_OPTION_HUGE_PAGES`).
    #[must_use]
    pub fn large_pages(&self) -> bool {
        !self.0.state.read().small_pages
    }

    /// Has mappings be joined into large pages or not; without, they can be cut.
    ///
    /// # Errors
    /// `EINVAL` switched off while domains have mappings; `EADDRINUSE` a mapping is not made of whole pages.
    pub fn set_large_pages(&self, large: bool) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        if !large && !state.domains.is_empty() && state.areas.len() > 0 {
            return Err(Errno::EINVAL);
        }
        let before = std::mem::replace(&mut state.small_pages, !large);
        let aligned = state.align();
        if aligned.is_err() {
            state.small_pages = before;
        }
        aligned
    }

    /// Adds a page table that mirrors every area from now on.
    ///
    /// # Errors
    /// `EINVAL` its smallest page is larger than the machine's; `EADDRINUSE` an area is not aligned to its pages or
    /// lies outside its aperture, or a range outside is allowed to be chosen; then as for mapping each area:
    /// `EFAULT`, `EINVAL`, `ENOMEM`. Nothing changes then.
    pub fn add_domain(&self, domain: &Arc<PagingDomain>) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        let alignment = domain.alignment().max(state.ranges.alignment());
        if alignment > PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        state.check_alignment(alignment)?;
        let reserver = domain.reserver();
        let outside = domain.outside();
        let added = outside
            .into_iter()
            .try_for_each(|range| state.reserve(range, reserver))
            .and_then(|()| state.fill_domain(domain));
        if added.is_err() {
            state.unreserve(reserver);
            return added;
        }
        state.domains.push(Arc::clone(domain));
        state.ranges.alignment = Alignment(alignment);
        Ok(())
    }

    /// Takes a page table out: when this returns nothing is mapped in it any more.
    pub fn remove_domain(&self, domain: &Arc<PagingDomain>) {
        let mut state = self.0.state.write();
        let Some(at) = state.domains.iter().position(|known| Arc::ptr_eq(known, domain)) else { return };
        state.domains.remove(at);
        domain.clear();
        if state.domains.is_empty() {
            state.areas.iter_mut().for_each(super::area::Area::unpin);
        }
        state.unreserve(domain.reserver());
        let aligned = state.align();
        debug_assert!(aligned.is_ok(), "less is asked for than before");
    }
}

impl State {
    /// Shows every area to a domain.
    fn fill_domain(&mut self, domain: &PagingDomain) -> Result<(), Errno> {
        let first = self.domains.is_empty();
        let filled = self.areas.iter_mut().try_for_each(|area| {
            let spans = area.pin()?;
            domain.fill(area, &spans)
        });
        if filled.is_err() {
            domain.clear();
            if first {
                self.areas.iter_mut().for_each(super::area::Area::unpin);
            }
        }
        filled
    }

    /// Attaches an access.
    ///
    /// # Errors
    /// `EADDRINUSE` it may pin, and an area is not made of whole pages.
    pub(super) fn add_access(&mut self, access: &Arc<AccessPoint>) -> Result<(), Errno> {
        self.accesses.push(Arc::clone(access));
        let aligned = self.align();
        if aligned.is_err() {
            self.accesses.pop();
        }
        aligned
    }

    /// Detaches an access.
    pub(super) fn remove_access(&mut self, access: &Arc<AccessPoint>) {
        self.accesses.retain(|known| !Arc::ptr_eq(known, access));
        let aligned = self.align();
        debug_assert!(aligned.is_ok(), "less is asked for than before");
    }
}
