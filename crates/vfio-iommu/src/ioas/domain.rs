//! A page table of hardware that mirrors an address space (`IOMMUFD_OBJ_HWPT_PAGING`).

use std::fmt;
use std::sync::Arc;

use vfio_memory::{AddressSpace, HostSpan, PAGE_SIZE};
use vfio_uapi::Errno;

use super::Ioas;
use super::area::Area;
use super::dirty::DirtyPages;
use super::pages::clip;
use super::ranges::Reserver;
use crate::{IoPageTable, IovaRange};

/// Says what a domain is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// A page table that devices walk.
    Table,
    /// Nothing: it follows the space as a table would, for tests of that (`IOMMU_TEST_CMD`).
    Mirror,
}

/// Follows every change of the address space that it is added to.
pub struct PagingDomain {
    pgsizes: u64,
    aperture: IovaRange,
    table: Option<IoPageTable>,
    dirty: Option<DirtyPages>,
}

impl PagingDomain {
    /// Makes a page table of `pgsizes`, one bit per page size, for the addresses of `aperture`; `tracks_dirty` tells
    /// whether it knows which pages were written.
    #[must_use]
    pub fn new(kind: DomainKind, pgsizes: u64, aperture: IovaRange, tracks_dirty: bool) -> Arc<Self> {
        let table = (kind == DomainKind::Table).then(IoPageTable::new);
        let domain = Self { pgsizes, aperture, table, dirty: None };
        // An entry of a table is a page at least, whatever the unit of mappings.
        let dirty = tracks_dirty.then(|| DirtyPages::new(domain.alignment().max(PAGE_SIZE)));
        Arc::new(Self { dirty, ..domain })
    }

    /// Returns the page sizes.
    #[must_use]
    pub fn pgsizes(&self) -> u64 {
        self.pgsizes
    }

    /// Returns the table that devices walk.
    pub(super) fn table(&self) -> Option<&IoPageTable> {
        self.table.as_ref()
    }

    pub(super) fn dirty(&self) -> Option<&DirtyPages> {
        self.dirty.as_ref()
    }

    /// Tells whether it is being noted which pages get written.
    #[must_use]
    pub fn is_tracking(&self) -> bool {
        self.dirty.as_ref().is_some_and(DirtyPages::is_tracking)
    }

    /// Returns the unit of mappings: its smallest page, but no less than what its table can map.
    pub(super) fn alignment(&self) -> u64 {
        let smallest = 1_u64.checked_shl(self.pgsizes.trailing_zeros()).unwrap_or(PAGE_SIZE);
        if self.table.is_some() { smallest.max(PAGE_SIZE) } else { smallest }
    }

    /// Returns the name under which its ranges are reserved.
    pub(super) fn reserver(&self) -> Reserver {
        Reserver::Domain(std::ptr::from_ref(self).addr())
    }

    /// Returns the ranges outside its aperture.
    pub(super) fn outside(&self) -> Vec<IovaRange> {
        let below = self.aperture.start().checked_sub(1).and_then(|last| IovaRange::new(0, last));
        let above = self.aperture.last().checked_add(1).and_then(|start| IovaRange::new(start, u64::MAX));
        below.into_iter().chain(above).collect()
    }

    /// Maps an area whose memory is `spans`.
    ///
    /// # Errors
    /// `EINVAL` neither read nor write; what the table refuses with.
    pub(super) fn fill(&self, area: &Area, spans: &[HostSpan]) -> Result<(), Errno> {
        if area.prot.is_empty() {
            return Err(Errno::EINVAL);
        }
        match &self.table {
            Some(table) => table.map_spans(area.range.start(), spans, area.prot),
            None => Ok(()),
        }
    }

    /// Unmaps an area; no device can reach it when this returns.
    pub(super) fn unfill(&self, range: IovaRange) {
        if let Some(table) = &self.table {
            table.unmap(range).expect("areas of a table are whole pages");
        }
        if let Some(dirty) = &self.dirty {
            dirty.forget(range);
        }
    }

    /// Unmaps everything.
    pub(super) fn clear(&self) {
        self.unfill(IovaRange::ALL);
    }
}

impl Ioas {
    /// Compares what a domain of the space maps with the memory of a process, page by page of the domain.
    ///
    /// # Errors
    /// `EINVAL` not aligned to the domain's pages, nothing is mapped, or something else; `EFAULT` the process has no
    /// such memory.
    pub fn check_map(
        &self,
        domain: &Arc<PagingDomain>,
        range: IovaRange,
        mm: &AddressSpace,
        address: u64,
    ) -> Result<(), Errno> {
        let unit = domain.alignment();
        if !range.is_aligned(unit) || address & (unit - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let state = self.0.state.read();
        if !state.domains.iter().any(|known| Arc::ptr_eq(known, domain)) {
            return Err(Errno::EINVAL);
        }
        let walked = state.areas.walk(range, |area, part| {
            let at = address + (part.start() - range.start());
            let wanted = mm.get_pages(at, part.size(), false).map_err(|stop| stop.errno)?;
            let skip = area.byte_at(part.start()) % PAGE_SIZE;
            let mapped = clip(area.pages.pinned(area.pages_of(part)), skip, part.size());
            let same = |(a, b): (&HostSpan, &HostSpan)| {
                a.memory.same_object(&b.memory) && a.offset == b.offset && a.len == b.len
            };
            let equal = mapped.len() == wanted.len() && mapped.iter().zip(&wanted).all(same);
            if equal { Ok(()) } else { Err(Errno::EINVAL) }
        });
        walked.map_err(|errno| if errno == Errno::ENOENT { Errno::EINVAL } else { errno })
    }

    /// Returns the page sizes that all domains of the space share, none below the machine's.
    #[must_use]
    pub fn pgsizes(&self) -> u64 {
        let state = self.0.state.read();
        let mut shared = state.domains.iter().fold(u64::MAX, |shared, domain| shared & domain.pgsizes);
        if shared & (PAGE_SIZE - 1) != 0 {
            shared = (shared & !(PAGE_SIZE - 1)) | PAGE_SIZE;
        }
        shared.max(state.ranges.alignment())
    }

    /// Finds the host memory behind `iova` and how many bytes are contiguous from there, at most `length`
    /// (`IOMMU_IOAS_NOIOMMU_GET_PA`).
    ///
    /// # Errors
    /// `ENOENT` nothing is mapped there for a domain.
    pub fn physical(&self, iova: u64, length: u64) -> Result<(u64, u64), Errno> {
        let state = self.0.state.read();
        let area = state.areas.at(iova).filter(|area| area.filled).ok_or(Errno::ENOENT)?;
        let part = IovaRange::new(iova, area.range.last()).ok_or(Errno::ENOENT)?;
        let skip = area.byte_at(iova) % PAGE_SIZE;
        let spans = clip(area.pages.pinned(area.pages_of(part)), skip, part.size());
        let span = spans.first().ok_or(Errno::ENOENT)?;
        let host = span.memory.locate(span.offset, 1)?;
        Ok((host, span.len.min(length)))
    }
}

impl fmt::Debug for PagingDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagingDomain").field("aperture", &self.aperture).finish_non_exhaustive()
    }
}
