//! The I/O address spaces of iommufd (`IOMMU_IOAS_*`), and what is attached to them.
//!
//! An [`Ioas`] keeps areas: ranges of IOVAs, each a window on shared `Pages`. Pages are looked up,
//! pinned and charged once, however many areas of however many spaces show them, and only when somebody needs
//! them: a [`PagingDomain`] (the page table of hardware, which mirrors every area) or an [`Access`](IoasAccess) (a
//! mediated device, which reads, writes and pins what it asks for).
//!
//! * `map`, `unmap`, `copy`: the requests of those names. `placing`: where an IOVA is chosen. `ranges`: reserved and
//!   allowed ranges, alignment.
//! * `pages`: the memory behind areas; `account`: who is charged; `source`: where it comes from. `area`, `areas`: one
//!   window, all of them by address.
//! * `domain`: what hardware walks. `dirty`: which pages it wrote. `access`: what software reaches; `pinning`: what it
//!   keeps. `port`: a device's views, one for each PASID; `view`: one of them, whatever it is attached to; `reach`: accesses.
//! * `nested`: a guest's page table on top of a domain. `page_requests`: pages that devices ask user space for.
//!   `virtual_iommu`, `event_queue`, `command_queue`: what a guest's IOMMU is made of.
//! * `state`: what the lock of a space protects.
//!
//! Locks: an access' or port's, then the space's, then the pages', then a table's and a process'. Listeners are
//! called with none held.

#![forbid(unsafe_code)]

mod access;
mod account;
mod area;
mod areas;
mod command_queue;
mod copy;
mod dirty;
mod domain;
mod event_queue;
mod map;
mod nested;
mod page_requests;
mod pages;
mod pinning;
mod placing;
mod port;
mod ranges;
mod reach;
mod source;
mod state;
mod unmap;
mod view;
mod virtual_iommu;

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use vfio_memory::AddressSpace;

use state::State;

pub use access::IoasAccess;
pub use account::{Accounting, Payer};
pub use command_queue::CommandQueue;
pub use dirty::DirtyRequest;
pub use domain::{DomainKind, PagingDomain};
pub use event_queue::EventQueue;
pub use map::{MapMemory, Place};
pub use nested::{NestedFormat, NestedTable};
pub use page_requests::{AttachId, PageAnswer, PageGroup, PageRequest, PageRequests, ReadyListener};
pub use port::DevicePort;
pub use ranges::Reserver;
pub use source::MapSource;
pub use view::Reporting;
pub use virtual_iommu::{COMMAND_SIZE, CommandError, VirtualIommu};

/// Maps IOVAs to memory for whatever is attached; a clone is another handle to the same space.
#[derive(Clone, Default)]
pub struct Ioas(Arc<Space>);

/// What the handles share.
#[derive(Default)]
struct Space {
    state: RwLock<State>,
}

impl Ioas {
    /// Makes an address space with nothing mapped and nothing attached (`IOMMU_IOAS_ALLOC`).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether both handles mean the same space.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Names each run of pages that pins the page of a process at `address`; spaces that share pages name the same.
    #[must_use]
    pub fn pinners(&self, mm: &Arc<AddressSpace>, address: u64) -> Vec<usize> {
        let state = self.0.state.read();
        let pinning = state.areas.iter().filter(|area| area.pages.pins(mm, address));
        pinning.map(|area| Arc::as_ptr(&area.pages).addr()).collect()
    }

    /// Returns the number of areas.
    #[must_use]
    pub fn area_count(&self) -> usize {
        self.0.state.read().areas.len()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.state.get_mut().clear();
    }
}

impl fmt::Debug for Ioas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ioas").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
