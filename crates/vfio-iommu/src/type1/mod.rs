//! The type1 IOMMU of a container (`VFIO_TYPE1_IOMMU`, `VFIO_TYPE1v2_IOMMU`).
//!
//! A [`Type1`] keeps the mappings that a process makes for the groups of one container. While a group behind
//! real (simulated) hardware is attached, every mapping is pinned, charged and in the [`IoPageTable`]; with
//! mediated devices only, nothing is touched before a driver asks: its accesses look the memory up in the
//! process that made the mapping, and pins are charged page by page.
//!
//! * `map`, `unmap`: `VFIO_IOMMU_MAP_DMA`, `VFIO_IOMMU_UNMAP_DMA`. `dirty`: `VFIO_IOMMU_DIRTY_PAGES`. `info`:
//!   `VFIO_IOMMU_GET_INFO`, `VFIO_CHECK_EXTENSION`.
//! * `groups`: attaching and detaching, with the geometry in `geometry` and `iova_list`.
//! * `mapping`, `mappings`: one mapping, all of them by address. `owner`: who is charged. `bitmap`,
//!   `bitmap_target`, `harvest`: dirty pages.
//! * `pin`, `pin_batch`: `vfio_pin_pages`, with `ledger` and `pins` counting. `hw_space`, `emulated_space`: what devices
//!   see. `listener`: who hears of unmaps. `report`: what was refused.
//! * `state`: what the domain's lock protects. `changes`: holding it, and the table's, for a series of requests.
//!
//! Locks: the domain's, then the table's, then a process'. Listeners are called with none held.

#![forbid(unsafe_code)]

mod batch;
mod bitmap;
mod bitmap_target;
mod changes;
mod dirty;
mod emulated_space;
mod geometry;
mod groups;
mod harvest;
mod hw_space;
mod info;
mod iova_list;
mod ledger;
mod listener;
mod map;
mod mapping;
mod mappings;
mod owner;
mod pin;
mod pin_batch;
mod pins;
mod report;
mod state;
mod unmap;

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{FaultLog, IoPageTable};
pub(crate) use ledger::Ledger;
use state::State;

pub use batch::Batch;
pub use bitmap_target::{BitmapTarget, UserBitmap};
pub use dirty::{DirtyCommand, DirtyQuery};
pub use geometry::{HwIommu, ReservedKind, ReservedRegion};
pub use info::{MigrationInfo, Type1Info};
pub use listener::{DeviceId, DeviceKind, DmaUnmapListener};
pub use map::MapDma;
pub use unmap::UnmapDma;

/// Keeps the mappings of one container; a clone is another handle to the same ones.
#[derive(Clone)]
pub struct Type1(Arc<Domain>);

/// What the handles, and the devices' spaces, share.
struct Domain {
    v2: bool,
    state: RwLock<State>,
    table: IoPageTable,
    faults: Arc<FaultLog>,
}

impl Type1 {
    /// Makes an IOMMU without groups, for version 1 or 2 of the unmap rules, that takes at most `entry_limit`
    /// mappings (the `dma_entry_limit` parameter of the kernel's module; 65,535 there by default).
    #[must_use]
    pub fn new(v2: bool, entry_limit: u32) -> Self {
        let domain = Domain {
            v2,
            state: RwLock::new(State::new(entry_limit)),
            table: IoPageTable::new(),
            faults: Arc::default(),
        };
        Self(Arc::new(domain))
    }

    /// Tells whether this is version 2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.0.v2
    }

    /// Returns the log of refused DMA.
    #[must_use]
    pub fn faults(&self) -> &Arc<FaultLog> {
        &self.0.faults
    }

    /// Returns the table that hardware devices walk; for measurements and batches of translations.
    #[must_use]
    pub fn table(&self) -> &IoPageTable {
        &self.0.table
    }

    /// Returns the number of mappings.
    #[must_use]
    pub fn mapping_count(&self) -> usize {
        self.0.state.read().mappings.len()
    }

    /// Detaches every group and closes every device: all mappings go, and all charges are given back.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Domain {
    fn close(&self) {
        let mut state = self.state.write();
        let devices = std::mem::take(&mut state.devices);
        devices.values().for_each(listener::Device::close);
        state.hw_groups.clear();
        state.emulated_groups.clear();
        state.remove_all(&self.table);
        drop(state);
        drop(devices); // outside the lock: listeners may own anything
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Type1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.0.v2 { 2 } else { 1 };
        f.debug_struct("Type1").field("version", &version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
