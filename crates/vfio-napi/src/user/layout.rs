//! The parts of a JavaScript device that need no JavaScript: memory behind its regions, registers that ring an event.

use std::collections::HashMap;

use vfio_device::ops::RegionMemory;
use vfio_device::pci::Doorbell;
use vfio_uapi::Errno;

/// What a device said of itself when it was opened.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The device wants to know of memory that goes.
    pub(super) hears_unmaps: bool,
    regions: HashMap<u32, RegionLayout>,
}

#[derive(Debug, Default)]
struct RegionLayout {
    memory: Vec<RegionMemory>,
    doorbells: Vec<Doorbell>,
}

impl Layout {
    /// Adds memory to a region.
    pub(super) fn add_memory(&mut self, region: u32, memory: RegionMemory) {
        self.regions.entry(region).or_default().memory.push(memory);
    }

    /// Adds a doorbell to a region.
    pub(super) fn add_doorbell(&mut self, region: u32, doorbell: Doorbell) {
        self.regions.entry(region).or_default().doorbells.push(doorbell);
    }

    /// Lists the memory of a region that can be mapped: not where a doorbell is, which would not be heard then.
    pub(super) fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        let Some(RegionLayout { memory, doorbells }) = self.regions.get(&region) else { return Vec::new() };
        let silent = |area: &&RegionMemory| !doorbells.iter().any(|bell| area.find(bell.offset, 1).is_some());
        memory.iter().filter(silent).cloned().collect()
    }

    /// Lists the doorbells of a region.
    pub(super) fn doorbells(&self, region: u32) -> Vec<Doorbell> {
        self.regions.get(&region).map_or_else(Vec::new, |region| region.doorbells.clone())
    }

    /// Reads memory; none: the access does not lie in memory as a whole.
    pub(super) fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Option<Result<(), Errno>> {
        let (memory, at) = self.find(region, offset, into.len())?;
        Some(memory.memory.read(at, into))
    }

    /// Stores to memory and rings doorbells; none: the write reaches neither.
    pub(super) fn write(&self, region: u32, offset: u64, from: &[u8]) -> Option<Result<(), Errno>> {
        let mut value = [0; 8];
        if let Some(low) = value.get_mut(..from.len()) {
            low.copy_from_slice(from);
        }
        // The value first: whoever the doorbell wakes finds it.
        let stored = self.find(region, offset, from.len()).map(|(area, at)| area.memory.write(at, from));
        let mut rung = false;
        for bell in self.regions.get(&region).map_or(&[][..], |region| &region.doorbells) {
            let met = bell.offset == offset
                && (bell.width == 0 || usize::from(bell.width) == from.len())
                && bell.value.is_none_or(|wanted| wanted == u64::from_le_bytes(value));
            if met {
                bell.event.signal(1);
                rung = true;
            }
        }
        stored.or(rung.then_some(Ok(())))
    }

    fn find(&self, region: u32, offset: u64, len: usize) -> Option<(&RegionMemory, u64)> {
        let areas = &self.regions.get(&region)?.memory;
        areas.iter().find_map(|area| Some((area, area.find(offset, len as u64)?)))
    }
}
