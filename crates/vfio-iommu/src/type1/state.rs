//! What the domain's lock protects.

use std::collections::BTreeMap;
use std::sync::Arc;

use vfio_memory::PAGE_SIZE;

use super::geometry::HwIommu;
use super::iova_list::IovaList;
use super::listener::{Device, DeviceId, DmaUnmapListener};
use super::mapping::Mapping;
use super::mappings::Mappings;
use crate::{Editor, FaultContext, IoPageTable, Iova, IovaRange, MapChange, MapHistory};

/// Page sizes when no hardware restricts them: any multiple of a page.
pub(super) const ANY_PAGE_SIZE: u64 = !(PAGE_SIZE - 1);

pub(super) struct State {
    pub(super) mappings: Mappings,
    /// Mappings that may still be made.
    pub(super) entries_left: u32,
    pub(super) iovas: IovaList,
    /// Page sizes that all hardware shares, none below the machine's.
    pub(super) pgsizes: u64,
    pub(super) hw_groups: Vec<HwGroup>,
    pub(super) emulated_groups: Vec<u32>,
    /// Mappings whose user address was taken away.
    pub(super) vaddrs_invalid: u64,
    /// Dirty pages are tracked.
    pub(super) tracking: bool,
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) history: MapHistory,
}

/// A group behind the host's IOMMU. Groups of equal geometry share a domain.
pub(super) struct HwGroup {
    pub(super) number: u32,
    pub(super) iommu: HwIommu,
}

impl State {
    pub(super) fn new(entry_limit: u32) -> Self {
        Self {
            mappings: Mappings::default(),
            entries_left: entry_limit,
            iovas: IovaList::default(),
            pgsizes: ANY_PAGE_SIZE,
            hw_groups: Vec::new(),
            emulated_groups: Vec::new(),
            vaddrs_invalid: 0,
            tracking: false,
            devices: BTreeMap::new(),
            history: MapHistory::default(),
        }
    }

    /// Tells whether hardware can reach the mappings, so that they are pinned and in the page table.
    pub(super) fn has_hardware(&self) -> bool {
        !self.hw_groups.is_empty()
    }

    /// Returns the smallest page size: the unit of mappings and of dirty bitmaps.
    pub(super) fn page_size(&self) -> u64 {
        1 << self.pgsizes.trailing_zeros()
    }

    /// Adds a mapping that is complete.
    pub(super) fn insert(&mut self, mapping: Mapping) {
        self.entries_left -= 1;
        self.history.record(MapChange::Mapped, mapping.range);
        self.mappings.insert(mapping);
    }

    /// Takes a mapping away: out of the table, off the account.
    pub(super) fn remove(&mut self, start: Iova, editor: Option<&mut Editor<'_>>) {
        let Some(mut mapping) = self.mappings.remove(start) else { return };
        if let Some(editor) = editor {
            editor.unmap(mapping.range).expect("mappings are page aligned");
        }
        mapping.uncharge_all();
        self.entries_left += 1;
        self.vaddrs_invalid -= u64::from(mapping.vaddr_invalid);
        self.history.record(MapChange::Unmapped, mapping.range);
    }

    /// Takes every mapping away, pinned or not (`vfio_iommu_unmap_unpin_all`).
    pub(super) fn remove_all(&mut self, table: &IoPageTable) {
        let mut editor = table.edit();
        while let Some(range) = self.mappings.first_in(IovaRange::ALL).map(|mapping| mapping.range) {
            self.remove(range.start(), Some(&mut editor));
        }
    }

    /// Unpins whatever `device` has pinned.
    pub(super) fn drop_pins_of(&mut self, device: DeviceId) {
        let charged_by_page = !self.has_hardware();
        for mapping in self.mappings.iter_mut().filter(|mapping| !mapping.pins.is_empty()) {
            let free = mapping.pins.drop_device(device);
            if charged_by_page {
                mapping.uncharge(free);
            }
        }
    }

    /// Marks bytes as dirty, if dirty pages are tracked.
    pub(super) fn mark_dirty(&self, range: IovaRange) {
        let mut rest = Some(range).filter(|_| self.tracking);
        while let Some(part) = rest
            && let Some(mapping) = self.mappings.first_in(part)
        {
            if let Some(touched) = part.intersect(mapping.range) {
                mapping.mark_dirty(touched);
            }
            let next = mapping.range.last().checked_add(1);
            rest = next.and_then(|next| IovaRange::new(next, range.last()));
        }
    }

    /// Tells whether `device` hears of unmaps.
    pub(super) fn listens(&self, device: DeviceId) -> bool {
        self.devices.get(&device).is_some_and(|device| device.listener.is_some())
    }

    /// Lists who is to be told before pinned pages are unmapped.
    pub(super) fn listeners(&self) -> Vec<Arc<dyn DmaUnmapListener>> {
        self.devices.values().filter_map(|device| device.listener.clone()).collect()
    }

    /// Says what is known of an address to which an access was refused.
    pub(super) fn fault_context(&self, iova: Iova) -> FaultContext {
        FaultContext {
            below: self.mappings.at_or_below(iova).map(|mapping| mapping.range),
            above: self.mappings.above(iova).map(|mapping| mapping.range),
            last_change: self.history.last_covering(iova),
        }
    }
}
