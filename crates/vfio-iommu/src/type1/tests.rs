//! Behaviour of the type1 domain, and a comparison with a plain model of it.

mod dirty;
mod groups;
mod ledger;
mod map;
mod model;
mod pin;
mod space;
mod unmap;

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_memory::{AddressSpace, Limits, Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::*;
use crate::{DmaSpace, IovaRange};

const RW: u32 = 3;
const GROUP: u32 = 26;
const MDEV_GROUP: u32 = 30;
const MDEV: DeviceId = DeviceId(1);
/// Pages of the process' memory; each byte of a page holds its number.
const RAM_PAGES: u64 = 64;

/// One process and one container.
struct Machine {
    mm: Arc<AddressSpace>,
    ram: u64,
    type1: Type1,
}

impl Machine {
    fn new(v2: bool, limits: Limits) -> Self {
        let (mm, ram) = process(limits);
        Self { mm, ram, type1: Type1::new(v2, 65_535) }
    }

    /// A version 2 container with hardware, and no limits.
    fn hw() -> Self {
        let machine = Self::new(true, UNLIMITED);
        machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
        machine
    }

    /// A version 2 container with a mediated device only, and no limits.
    fn emulated() -> Self {
        Self::emulated_with(UNLIMITED)
    }

    fn emulated_with(limits: Limits) -> Self {
        let machine = Self::new(true, limits);
        machine.type1.attach_emulated(MDEV_GROUP).unwrap();
        machine
    }

    /// Maps memory from page `from` of the process on.
    fn map(&self, iova: u64, pages: u64, from: u64) -> Result<(), Errno> {
        self.map_flags(RW, iova, pages, from)
    }

    fn map_flags(&self, flags: u32, iova: u64, pages: u64, from: u64) -> Result<(), Errno> {
        let vaddr = self.ram + from * PAGE_SIZE;
        self.type1.map_dma(&self.mm, &MapDma { flags, vaddr, iova, size: pages * PAGE_SIZE })
    }

    fn unmap(&self, iova: u64, pages: u64) -> Result<u64, Errno> {
        self.unmap_flags(0, iova, pages)
    }

    fn unmap_flags(&self, flags: u32, iova: u64, pages: u64) -> Result<u64, Errno> {
        self.type1.unmap_dma(&UnmapDma { flags, iova, size: pages * PAGE_SIZE }, None)
    }

    fn locked(&self) -> u64 {
        self.mm.locked().locked_pages()
    }

    /// Opens the mediated device; it does not unpin by itself.
    fn mdev(&self) -> Arc<dyn DmaSpace> {
        self.type1.register_listener(MDEV, Arc::new(Heard::default()));
        self.type1.space_for(MDEV, "mdev", DeviceKind::Emulated)
    }
}

/// Hears of unmaps and does nothing about them.
#[derive(Default)]
struct Heard(Mutex<Vec<IovaRange>>);

impl DmaUnmapListener for Heard {
    fn dma_unmap(&self, range: IovaRange) {
        self.0.lock().push(range);
    }
}

const UNLIMITED: Limits = Limits { memlock: u64::MAX, cap_ipc_lock: true };

/// Limits to so many pages.
fn pages(count: u64) -> Limits {
    Limits { memlock: count * PAGE_SIZE, cap_ipc_lock: false }
}

fn process(limits: Limits) -> (Arc<AddressSpace>, u64) {
    let mm = AddressSpace::new(limits);
    let memory = Memory::anonymous(RAM_PAGES * PAGE_SIZE).unwrap();
    for page in 0..RAM_PAGES {
        memory.fill(page * PAGE_SIZE, page as u8, PAGE_SIZE).unwrap();
    }
    let ram = mm.map(None, 0, RAM_PAGES * PAGE_SIZE, memory, 0, Prot::RW).unwrap();
    (mm, ram)
}
