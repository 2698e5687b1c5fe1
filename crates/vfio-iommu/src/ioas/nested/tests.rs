//! Guests' page tables against a plain model, and what a hostile guest can put there.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use vfio_memory::{AddressSpace, Limits, Memory, Prot};
use vfio_uapi::Errno;

use super::format::Entry;
use super::*;
use crate::ioas::reach::Reach;
use crate::ioas::{Accounting, DomainKind, MapMemory, MapSource, Payer, Place};
use crate::{Access, FaultReason};

const PAGES: u64 = 64;
const ROOT: u64 = 0x1_0000;
const RW: u64 = 3;

/// A guest with some memory at 0, and a parent that maps it.
struct Guest {
    memory: Memory,
    parent: Arc<PagingDomain>,
    ioas: Ioas,
}

impl Guest {
    fn new() -> Self {
        let mm = AddressSpace::new(Limits { memlock: 1 << 30, cap_ipc_lock: true });
        let memory = Memory::anonymous(PAGES * PAGE).expect("memory");
        let address = mm.map(None, 0, PAGES * PAGE, memory.clone(), 0, Prot::RW).expect("an address");
        let ioas = Ioas::new();
        let aperture = IovaRange::sized(0, 1 << 48).expect("48 bits");
        let parent = PagingDomain::new(DomainKind::Table, 1 << 12, aperture, true);
        ioas.add_domain(&parent).expect("an empty space");
        ioas.map(MapMemory {
            source: MapSource::User(Arc::clone(&mm), address),
            length: PAGES * PAGE,
            place: Place::Fixed(0),
            prot: Prot::RW,
            payer: Payer::new(&mm, Accounting::User),
        })
        .expect("free");
        Self { memory, parent, ioas }
    }

    fn table(&self, levels: u32, accessed_dirty: bool) -> Arc<NestedTable> {
        let format = NestedFormat::new(ROOT, levels, accessed_dirty).expect("sound");
        NestedTable::new(format, &self.parent, &self.ioas)
    }

    fn put(&self, at: u64, entry: u64) {
        self.memory.write(at, &entry.to_le_bytes()).expect("inside");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory.read(at, &mut bytes).expect("inside");
        u64::from_le_bytes(bytes)
    }

    /// Makes tables for the lowest 2 MiB of a table of three levels; returns where the lowest lies.
    fn low(&self) -> u64 {
        self.put(ROOT, (ROOT + PAGE) | RW);
        self.put(ROOT + PAGE, (ROOT + 2 * PAGE) | RW);
        ROOT + 2 * PAGE
    }
}

#[test]
fn leads_through_both_tables_and_remembers_until_told_otherwise() {
    let guest = Guest::new();
    let table = guest.table(3, false);
    let leaves = guest.low();
    guest.put(leaves + 8, 0x3000 | RW);
    table.write(0x1010, &[1, 2, 3]).expect("it is mapped");
    assert_eq!(guest.get(0x3010) & 0xff_ffff, 0x03_0201);
    guest.put(leaves + 8, 0x4000 | RW);
    table.write(0x1010, &[9]).expect("it is remembered");
    assert_eq!(guest.get(0x3010) & 0xff, 9);
    assert_eq!(table.invalidate(0x1001, 1), Err(Errno::EINVAL));
    assert_eq!(table.invalidate(0x1000, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(table.invalidate(!0xfff, 2), Err(Errno::EINVAL));
    table.invalidate(0x2000, 1).expect("another page");
    table.write(0x1010, &[8]).expect("it is remembered");
    assert_eq!(guest.get(0x3010) & 0xff, 8);
    table.invalidate(0x1000, 1).expect("the page");
    table.write(0x1010, &[7]).expect("it is mapped");
    assert_eq!(guest.get(0x4010) & 0xff, 7);
}

#[test]
fn notes_what_was_accessed_and_written() {
    let guest = Guest::new();
    let table = guest.table(3, true);
    let leaves = guest.low();
    guest.put(leaves, 0x3000 | RW);
    table.read(0, &mut [0; 4]).expect("it is mapped");
    assert_eq!(guest.get(leaves) & (Entry::ACCESSED | Entry::DIRTY), Entry::ACCESSED);
    assert_ne!(guest.get(ROOT) & Entry::ACCESSED, 0);
    table.write(0, &[0; 4]).expect("it is mapped");
    assert_eq!(guest.get(leaves) & Entry::DIRTY, Entry::DIRTY);
}

#[test]
fn refuses_what_makes_no_sense() {
    let reason = |guest: &Guest, iova: u64, access: Access| {
        guest.table(3, false).translate(iova, access).expect_err("refused").reason
    };
    let guest = Guest::new();
    let leaves = guest.low();
    guest.put(leaves, 0x3000 | 1);
    guest.put(leaves + 8, 0x3000 | RW | 1 << 63);
    guest.put(leaves + 16, 0x00ff_ffff_f000 | RW);
    guest.put(ROOT + PAGE + 8, 0x00ff_ffff_f000 | RW);
    guest.put(ROOT + PAGE + 16, 0x1000 | RW | 1 << 7);
    assert_eq!(reason(&guest, 0, Access::Write), FaultReason::Permission);
    assert_eq!(reason(&guest, 0x1000, Access::Read), FaultReason::BrokenTable);
    assert_eq!(reason(&guest, 0x2000, Access::Read), FaultReason::Unbacked);
    assert_eq!(reason(&guest, 0x3000, Access::Read), FaultReason::NoMapping);
    assert_eq!(reason(&guest, 0x20_0000, Access::Read), FaultReason::BrokenTable);
    assert_eq!(reason(&guest, 0x40_0000, Access::Read), FaultReason::BrokenTable);
    assert_eq!(reason(&guest, 1 << 39, Access::Read), FaultReason::OutsideWindow);
    assert_eq!(NestedFormat::new(ROOT + 8, 3, false), Err(Errno::EINVAL));
    assert_eq!(NestedFormat::new(ROOT, 6, false), Err(Errno::EINVAL));
}

#[test]
fn a_table_that_leads_to_itself_ends() {
    let guest = Guest::new();
    guest.put(ROOT, ROOT | RW);
    let table = guest.table(5, false);
    assert_eq!(table.read(0, &mut [0; 8]), Ok(()));
    let fault = table.fill(0, 0, 1 << 40).expect_err("too long for one access");
    assert_eq!(fault.reason, FaultReason::OutOfMemory);
    let mut many = vec![0; 4 << 20];
    assert!(table.read(0, &mut many).is_err());
    assert!(table.tlb.lock().len() <= 1024);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever pages a guest maps, and whatever it forgets to invalidate, translations are those of the model.
    #[test]
    fn agrees_with_a_map(steps in prop::collection::vec((0..16_u64, 0..8_u64, 0..4_u64, any::<bool>()), 1..80)) {
        let guest = Guest::new();
        let table = guest.table(3, false);
        let leaves = guest.low();
        let mut entries = BTreeMap::new();
        let mut remembered: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (page, frame, rights, invalidate) in steps {
            guest.put(leaves + page * 8, frame << 12 | rights);
            entries.insert(page, (frame, rights));
            if invalidate {
                table.invalidate(page * PAGE, 1).expect("a page");
                remembered.remove(&page);
            }
            for access in [Access::Read, Access::Write] {
                let needed = if access == Access::Read { 1 } else { 2 };
                let (frame, rights) = *remembered.get(&page).unwrap_or(&entries[&page]);
                let found = table.translate(page * PAGE + 5, access);
                if rights & needed == 0 {
                    prop_assert!(found.is_err());
                    continue;
                }
                remembered.entry(page).or_insert((frame, rights));
                let host = guest.memory.locate(frame * PAGE + 5, 1).expect("inside");
                prop_assert_eq!(found.map(|found| found.host), Ok(host));
            }
        }
    }
}
