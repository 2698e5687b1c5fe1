//! The walk against a plain model, what is remembered and forgotten, and tables that lie.

use std::sync::Arc;

use proptest::prelude::*;
use vfio_memory::{AddressSpace, Limits, Memory, Prot};
use vfio_uapi::Errno;

use super::format::Entry;
use super::{NestedFormat, NestedTable};
use crate::ioas::{
    Accounting, DevicePort, DomainKind, Ioas, MapMemory, MapSource, PagingDomain, Payer, Place,
};
use crate::{DmaSpace, FaultLog, FaultReason, IovaRange};

const GUEST: u64 = 4 << 20;
const ROOT: u64 = 0x1000;

/// A guest's memory at guest physical address 0, and a device behind the guest's table at [`ROOT`].
struct Guest {
    memory: Memory,
    table: Arc<NestedTable>,
    port: Arc<DevicePort>,
    _ioas: Ioas,
}

impl Guest {
    fn new(levels: u32, accessed_dirty: bool) -> Self {
        let memory = Memory::anonymous(GUEST).unwrap();
        let mm = AddressSpace::new(Limits { memlock: u64::MAX, cap_ipc_lock: true });
        let address = mm.map(None, 4096, GUEST, memory.clone(), 0, Prot::RW).unwrap();
        let ioas = Ioas::new();
        let aperture = IovaRange::new(0, (1 << 48) - 1).unwrap();
        let domain = PagingDomain::new(DomainKind::Table, 0x1000, aperture, true);
        ioas.add_domain(&domain).unwrap();
        ioas.map(MapMemory {
            source: MapSource::User(mm.clone(), address),
            length: GUEST,
            place: Place::Fixed(0),
            prot: Prot::RW,
            payer: Payer::new(&mm, Accounting::User),
        })
        .unwrap();
        let format = NestedFormat::new(ROOT, levels, accessed_dirty).unwrap();
        let table = NestedTable::new(format, &domain, &ioas);
        let port = DevicePort::new("edu", Arc::new(FaultLog::new(16)));
        port.attach_nested(&table);
        Self { memory, table, port, _ioas: ioas }
    }

    fn entry(&self, table: u64, index: u64, value: u64) {
        self.memory.write(table + index * 8, &value.to_le_bytes()).unwrap();
    }

    fn value(&self, table: u64, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory.read(table + index * 8, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Maps one 4 KiB page by tables at 0x2000 and 0x3000 (three levels).
    fn map(&self, page: u64, to: u64, rights: u64) {
        let all = Entry::READ | Entry::WRITE;
        self.entry(ROOT, page >> 18, 0x2000 | all);
        self.entry(0x2000, (page >> 9) & 511, 0x3000 | all);
        self.entry(0x3000, page & 511, to | rights);
    }

    fn reason(&self, iova: u64) -> Option<FaultReason> {
        let mut byte = [0];
        self.port.read(iova, &mut byte).err().map(|fault| fault.reason)
    }
}

#[test]
fn a_device_goes_through_both_tables() {
    let guest = Guest::new(3, false);
    guest.map(5, 0x10_0000, Entry::READ | Entry::WRITE);
    guest.map(6, 0x12_0000, Entry::READ);
    guest.memory.write(0x10_0ffe, b"ab").unwrap();
    guest.memory.write(0x12_0000, b"cd").unwrap();
    let mut bytes = [0; 4];
    guest.port.read(0x5ffe, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abcd");
    guest.port.write(0x5000, b"xy").unwrap();
    let mut written = [0; 2];
    guest.memory.read(0x10_0000, &mut written).unwrap();
    assert_eq!(&written, b"xy");
    let refused = guest.port.write(0x5ffe, b"abcd").unwrap_err();
    assert_eq!((refused.iova, refused.reason), (0x6000, FaultReason::Permission));
    guest.memory.read(0x10_0ffe, &mut written).unwrap();
    assert_eq!(&written, b"ab", "nothing of it is done");
}

#[test]
fn what_is_remembered_counts_until_it_is_invalidated() {
    let guest = Guest::new(3, false);
    guest.map(5, 0x10_0000, Entry::READ);
    assert_eq!(guest.reason(0x5000), None);
    guest.map(5, 0, 0);
    assert_eq!(guest.reason(0x5000), None, "as on hardware");
    assert_eq!(guest.table.invalidate(0x5001, 1), Err(Errno::EINVAL));
    assert_eq!(guest.table.invalidate(0x6000, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(guest.table.invalidate(u64::MAX - 0xfff, 2), Err(Errno::EINVAL));
    guest.table.invalidate(0x6000, 1).unwrap();
    assert_eq!(guest.reason(0x5000), None, "another page");
    guest.table.invalidate(0x5000, 1).unwrap();
    assert_eq!(guest.reason(0x5000), Some(FaultReason::NoMapping));
    guest.map(5, 0x10_0000, Entry::READ);
    assert_eq!(guest.reason(0x5000), None, "that nothing was there is not remembered");
    guest.map(5, 0, 0);
    guest.table.invalidate(0, u64::MAX).unwrap();
    assert_eq!(guest.reason(0x5000), Some(FaultReason::NoMapping));
}

#[test]
fn accesses_are_noted_in_the_guests_entries() {
    let guest = Guest::new(3, true);
    guest.map(5, 0x10_0000, Entry::READ | Entry::WRITE);
    assert_eq!(guest.reason(0x5000), None);
    assert_eq!(guest.value(0x3000, 5) & (Entry::ACCESSED | Entry::DIRTY), Entry::ACCESSED);
    assert_eq!(guest.value(ROOT, 0) & Entry::ACCESSED, Entry::ACCESSED);
    guest.port.write(0x5000, &[1]).unwrap();
    assert_eq!(guest.value(0x3000, 5) & Entry::DIRTY, Entry::DIRTY);
}

#[test]
fn tables_that_lie_are_refused() {
    let guest = Guest::new(4, false);
    let all = Entry::READ | Entry::WRITE;
    guest.entry(ROOT, 0, ROOT | all); // leads to itself: the walk ends at the last level all the same
    assert_eq!(guest.reason(0), None);
    guest.table.invalidate(0, u64::MAX).unwrap();
    guest.entry(ROOT, 0, 0x4000_0000_0000 | all);
    assert_eq!(guest.reason(0), Some(FaultReason::BrokenTable), "no memory there");
    guest.entry(ROOT, 0, 0x2000 | all | 1 << 63);
    assert_eq!(guest.reason(0), Some(FaultReason::BrokenTable), "a reserved bit");
    guest.entry(ROOT, 0, all | 1 << 7);
    assert_eq!(guest.reason(0), Some(FaultReason::BrokenTable), "no such large page");
    guest.entry(ROOT, 0, 0x2000 | all);
    guest.entry(0x2000, 0, 0x4000_0000_0000 | all | 1 << 7);
    assert_eq!(guest.reason(0), Some(FaultReason::Unbacked));
    assert_eq!(guest.reason(1 << 48), Some(FaultReason::OutsideWindow));
    assert_eq!(guest.reason(u64::MAX), Some(FaultReason::OutsideWindow));
    for (root, levels) in [(1, 4), (1 << 52, 4), (0, 2), (0, 6)] {
        assert_eq!(NestedFormat::new(root, levels, false).unwrap_err(), Errno::EINVAL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the tables hold, an access ends, and agrees with a plain walk.
    #[test]
    fn a_walk_agrees_with_a_plain_one(
        entries in prop::collection::vec((0_u64..4, 0_u64..8, any::<u64>(), 0_u64..16, 0_u64..4), 0..40),
        pages in prop::collection::vec((0_u64..8, 0_u64..8, 0_u64..8), 1..20),
    ) {
        let guest = Guest::new(3, false);
        for (table, index, noise, target, rights) in entries {
            // Mostly sound entries that stay within the first tables; now and then anything.
            let value = if noise % 8 == 0 { noise } else { target << 12 | rights };
            guest.entry(ROOT + table * 0x1000, index, value);
        }
        for (top, middle, low) in pages {
            let iova = top << 30 | middle << 21 | low << 12;
            let expected = plain(&guest, iova);
            let mut byte = [0];
            let read = guest.port.read(iova, &mut byte).map_err(|fault| fault.reason);
            prop_assert_eq!(read.is_ok(), expected.is_some(), "{:x}: {:?}", iova, read);
            if let Some(physical) = expected {
                let mut there = [0];
                guest.memory.read(physical, &mut there).unwrap();
                prop_assert_eq!(byte, there);
            }
        }
    }
}

/// Where a read of `iova` ends, by the table of the module's documentation.
fn plain(guest: &Guest, iova: u64) -> Option<u64> {
    let mut table = ROOT;
    for level in [2_u32, 1, 0] {
        let shift = 12 + 9 * level;
        if table + 4096 > GUEST {
            return None;
        }
        let entry = guest.value(table, (iova >> shift) & 511);
        let address = entry & 0x000f_ffff_ffff_f000;
        let large = entry & 0x80 != 0;
        let size = 1 << shift;
        if entry & 1 == 0
            || entry & (1 << 63 | 0xf1c) != 0
            || (large && (level == 0 || !address.is_multiple_of(size)))
        {
            return None;
        }
        if level == 0 || large {
            let physical = address + iova % size;
            return (physical < GUEST).then_some(physical);
        }
        table = address;
    }
    None
}
