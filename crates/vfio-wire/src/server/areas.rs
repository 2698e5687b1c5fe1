//! What of a region a client can map, by one descriptor.

use vfio_device::ops::{InfoCapability, RegionMemory};
use vfio_memory::{Memory, PAGE_SIZE};
use vfio_uapi::vfio::region::VFIO_REGION_INFO_CAP_SPARSE_MMAP;

/// The mappable part of a region.
pub(super) struct Mappable {
    /// Whose descriptor goes with the reply.
    pub(super) memory: Memory,
    /// Where the region's first byte is, or would be, in the file: added to an area's offset, wrapping as `mmap` callers
    /// do, it gives the area's place.
    pub(super) offset: u64,
    /// Offset and size of each area; none: all of the region.
    areas: Vec<(u64, u64)>,
}

impl Mappable {
    /// Finds what of a region of `size` bytes lies in one file, as a region would lie in it.
    pub(super) fn of(mut areas: Vec<RegionMemory>, size: u64) -> Option<Self> {
        areas.retain(|area| {
            let place = area.memory.fd_offset().checked_add(area.memory_offset);
            area.memory.fd().is_some()
                && area.len != 0
                && (area.offset | area.len | place.unwrap_or(1)).is_multiple_of(PAGE_SIZE)
                && area.offset.checked_add(area.len).is_some_and(|end| end <= size)
        });
        let first = areas.first()?;
        let memory = first.memory.clone();
        let base = |area: &RegionMemory| (memory.fd_offset() + area.memory_offset).wrapping_sub(area.offset);
        let offset = base(first);
        areas.retain(|area| area.memory.same_object(&memory) && base(area) == offset);
        let whole = areas.iter().any(|area| (area.offset, area.len) == (0, size));
        let areas =
            if whole { Vec::new() } else { areas.iter().map(|area| (area.offset, area.len)).collect() };
        Some(Self { memory, offset, areas })
    }

    /// Puts the list of areas among a region's capabilities, in place of one that was made for other users.
    pub(super) fn announce(this: Option<&Self>, capabilities: &mut Vec<InfoCapability>) {
        capabilities.retain(|capability| u32::from(capability.id) != VFIO_REGION_INFO_CAP_SPARSE_MMAP);
        if let Some(mappable) = this.filter(|mappable| !mappable.areas.is_empty()) {
            capabilities.push(InfoCapability::sparse_mmap(&mappable.areas));
        }
    }
}
