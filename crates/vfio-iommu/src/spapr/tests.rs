//! Behaviour of the tables, and a comparison with a plain model of them.

mod endpoint;
mod model;
mod update;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use vfio_memory::{AddressSpace, Limits, Memory, Prot};

use super::*;
use crate::{DmaSpace, FaultLog};

/// The system's page.
const PAGE: u64 = 1 << 16;
/// The default window's page.
const SMALL: u64 = 1 << 12;
const RAM_PAGES: u64 = 8;

/// A process with memory whose bytes hold the number of their small page.
struct Machine {
    mm: Arc<AddressSpace>,
    ram: u64,
}

impl Machine {
    fn new() -> Self {
        let limits = Limits { memlock: u64::MAX, cap_ipc_lock: true };
        let mm = AddressSpace::with_page_size(limits, PAGE).unwrap();
        let memory = Memory::anonymous(RAM_PAGES * PAGE).unwrap();
        let ram = mm.map(None, 0, RAM_PAGES * PAGE, memory.clone(), 0, Prot::RW).unwrap();
        for page in 0..RAM_PAGES * PAGE / SMALL {
            memory.fill(page * SMALL, page as u8, SMALL).unwrap();
        }
        Self { mm, ram }
    }

    fn table(&self, registered: bool, page_shift: u32, entries: u64) -> Arc<TceTable> {
        let bits = entries.next_power_of_two().ilog2();
        let level_bits = vec![bits.div_ceil(2), bits.div_ceil(2)];
        let geometry = TceGeometry {
            start: 0x1000_0000,
            page_shift,
            entries,
            level_bits,
            registered,
            write_implies_read: false,
        };
        TceTable::new(geometry, &self.mm).unwrap()
    }

    fn memory(&self) -> Arc<Registered> {
        Registered::of(&self.mm)
    }

    /// Registers pages of the memory.
    fn register(&self, from: u64, pages: u64) -> RegionId {
        match self.memory().register(&self.mm, self.ram + from * PAGE, pages * PAGE) {
            Ok(Registration::Made(id)) => id,
            other => panic!("{other:?}"),
        }
    }
}

/// What a device sees of windows.
fn device(tables: &[&Arc<TceTable>], freezing: bool) -> (Endpoint, Arc<dyn DmaSpace>) {
    let endpoint = Endpoint::new(freezing, Arc::new(FaultLog::default()));
    for (slot, table) in tables.iter().enumerate() {
        endpoint.set_window(slot, Arc::clone(table)).unwrap();
    }
    let space = endpoint.space_for("device", Arc::new(AtomicBool::new(true)));
    (endpoint, space)
}
