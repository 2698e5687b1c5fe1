//! What the lock of an address space protects.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::access::AccessPoint;
use super::area::Area;
use super::areas::Areas;
use super::domain::PagingDomain;
use super::ranges::Ranges;
use crate::{FaultContext, Iova, IovaRange, MapChange, MapHistory};

#[derive(Default)]
pub(super) struct State {
    pub(super) areas: Areas,
    pub(super) ranges: Ranges,
    pub(super) domains: Vec<Arc<PagingDomain>>,
    pub(super) accesses: Vec<Arc<AccessPoint>>,
    /// Mappings are made page by page, so that they can be cut (`IOMMU_OPTION_HUGE_PAGES` off).
    pub(super) small_pages: bool,
    pub(super) history: MapHistory,
}

impl State {
    /// Adds an area and shows it to every domain.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL` memory that is not there; `ENOMEM` over the limit; `EINVAL` a domain cannot map it.
    /// Nothing is added then.
    pub(super) fn insert(&mut self, mut area: Area) -> Result<(), Errno> {
        for at in 0..self.domains.len() {
            let filled = area.pin().and_then(|spans| self.domains[at].fill(&area, &spans));
            if let Err(errno) = filled {
                self.domains[..at].iter().for_each(|domain| domain.unfill(area.range));
                area.unpin();
                return Err(errno);
            }
        }
        self.history.record(MapChange::Mapped, area.range);
        self.areas.insert(area);
        Ok(())
    }

    /// Takes an area away: out of every domain, off the account.
    pub(super) fn remove(&mut self, start: Iova) {
        let Some(mut area) = self.areas.remove(start) else { return };
        self.domains.iter().for_each(|domain| domain.unfill(area.range));
        area.unpin();
        self.history.record(MapChange::Unmapped, area.range);
    }

    /// Takes everything away.
    pub(super) fn clear(&mut self) {
        while let Some(range) = self.areas.first_in(IovaRange::ALL).map(|area| area.range) {
            self.remove(range.start());
        }
    }

    /// Says what is known of an address to which an access was refused.
    pub(super) fn fault_context(&self, iova: Iova) -> FaultContext {
        FaultContext {
            below: self.areas.at_or_below(iova).map(|area| area.range),
            above: self.areas.above(iova).map(|area| area.range),
            last_change: self.history.last_covering(iova),
        }
    }
}
