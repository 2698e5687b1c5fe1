//! Memory behind a region, as the descriptor beside its description gives it.

use std::os::fd::OwnedFd;

use vfio_device::ops::{RegionInfo, RegionMemory};
use vfio_memory::Memory;
use vfio_uapi::vfio::region::{
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_WRITE,
};

use crate::message::Fields;

/// Areas of one region that are looked at.
const MOST: usize = 1024;

/// Maps the parts of a region that can be: those of its sparse capability, or all of it. What cannot be mapped is left
/// out; messages reach it.
pub(super) fn map(info: &RegionInfo, fd: &OwnedFd) -> Vec<RegionMemory> {
    if info.flags & VFIO_REGION_INFO_FLAG_MMAP == 0 || info.size == 0 {
        return Vec::new();
    }
    let writable = info.flags & VFIO_REGION_INFO_FLAG_WRITE != 0;
    let mut mapped = Vec::new();
    for (offset, len) in areas(info) {
        let inside = offset.checked_add(len).is_some_and(|end| end <= info.size);
        let (Ok(fd), true) = (fd.try_clone(), inside) else { continue };
        // Wrapping: a region whose mapped part is at the front of the file begins before it.
        let place = info.offset.wrapping_add(offset);
        if let Ok(memory) = Memory::from_fd(fd, place, len, writable) {
            mapped.push(RegionMemory { offset, len, memory, memory_offset: 0 });
        }
    }
    mapped
}

fn areas(info: &RegionInfo) -> Vec<(u64, u64)> {
    let sparse = info.capabilities.iter().find(|one| u32::from(one.id) == VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    let Some(sparse) = sparse else { return vec![(0, info.size)] };
    let mut fields = Fields::new(&sparse.payload);
    let (Some(count), Some(_reserved)) = (fields.u32(), fields.u32()) else { return Vec::new() };
    let mut areas = Vec::new();
    while areas.len() < MOST.min(count as usize) {
        let (Some(offset), Some(len)) = (fields.u64(), fields.u64()) else { break };
        areas.push((offset, len));
    }
    areas
}
