//! Updates of entries, and what they pin and count.

use vfio_uapi::Errno;

use super::*;

const START: u64 = 0x1000_0000;

#[test]
fn entries_are_big_endian_with_the_rights_below_the_page() {
    let tce = Tce::new(0x1234_5000, Prot::READ);
    assert_eq!(tce.value(), 0x1234_5001);
    assert_eq!(tce.to_be(), 0x1234_5001_u64.to_be());
    assert_eq!(Tce::from_be(tce.to_be()), tce);
    assert_eq!((tce.real(), tce.prot()), (0x1234_5000, Prot::READ));
    assert!(!Tce::NONE.allows_any());
}

#[test]
fn pinned_entries_hold_their_memory_until_they_are_cleared() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    table.map(START, machine.ram, 16, Prot::RW).unwrap();
    machine.mm.clear();
    assert_eq!(machine.memory().real().pinned_objects(), 1);
    let (_, space) = device(&[&table], false);
    let mut byte = [0];
    space.read(START + 3 * SMALL, &mut byte).unwrap();
    assert_eq!(byte, [3]);
    table.unmap(START, 16).unwrap();
    assert_eq!(machine.memory().real().pinned_objects(), 0);
    assert!(space.read(START, &mut byte).is_err());
}

#[test]
fn replacing_a_pinned_entry_lets_the_old_page_go() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    for _ in 0..3 {
        table.map(START, machine.ram, 1, Prot::READ).unwrap();
    }
    table.unmap(START, 1).unwrap();
    assert_eq!(machine.memory().real().pinned_objects(), 0);
}

#[test]
fn a_pinned_update_needs_writable_pages_as_large_as_the_windows() {
    let machine = Machine::new();
    let end = machine.ram + RAM_PAGES * PAGE;
    let table = machine.table(false, 12, 1024);
    assert_eq!(table.map(START, end, 1, Prot::READ), Err(Errno::EFAULT));
    machine.mm.protect(machine.ram, PAGE, Prot::READ).unwrap();
    assert_eq!(table.map(START, machine.ram, 1, Prot::READ), Err(Errno::EFAULT));
    let large = machine.table(false, 21, 8);
    let memory = Memory::anonymous(4 << 20).unwrap();
    let at = machine.mm.map(None, 1 << 21, 4 << 20, memory.clone(), 0, Prot::RW).unwrap();
    assert_eq!(large.map(START, at, 1, Prot::RW), Err(Errno::EPERM));
    let huge = machine.mm.map_huge(None, 0, 4 << 20, memory, 0, Prot::RW, 1 << 21).unwrap();
    assert_eq!(large.map(START, huge, 2, Prot::RW), Ok(()));
}

#[test]
fn a_failure_midway_clears_the_entries_before_it_and_leaves_those_behind() {
    for registered in [false, true] {
        let machine = Machine::new();
        let table = machine.table(registered, 12, 1024);
        if registered {
            machine.register(0, RAM_PAGES);
        }
        table.map(START, machine.ram, 48, Prot::RW).unwrap();
        let near_end = machine.ram + RAM_PAGES * PAGE - 16 * SMALL;
        assert!(table.map(START, near_end, 32, Prot::RW).is_err());
        let live = |page: u64| table.entry(START + page * SMALL).is_some_and(Tce::allows_any);
        assert!((0..16).all(|page| !live(page)) && (16..48).all(live), "registered: {registered}");
    }
}

#[test]
fn registered_updates_check_the_whole_page_against_one_region() {
    let machine = Machine::new();
    machine.register(0, 2);
    machine.register(2, 2);
    let small = machine.table(true, 12, 4096);
    assert_eq!(
        small.map(START, machine.ram, 4 * 16, Prot::RW),
        Ok(()),
        "neighbouring regions may be crossed"
    );
    assert_eq!(small.map(START, machine.ram + 4 * PAGE, 1, Prot::RW), Err(Errno::EINVAL));
    let large = machine.table(true, 21, 8);
    assert_eq!(large.map(START, machine.ram & !((1 << 21) - 1), 1, Prot::RW), Err(Errno::EINVAL));
}

#[test]
fn a_region_is_counted_by_holder_and_by_entry() {
    let machine = Machine::new();
    let (memory, mm) = (machine.memory(), &machine.mm);
    let region = machine.register(0, 4);
    assert_eq!(mm.locked().locked_pages(), 4);
    memory.get(region).unwrap();
    assert_eq!(memory.put(mm, region, true), Ok(()));
    let table = machine.table(true, 12, 1024);
    table.map(START, machine.ram, 4, Prot::RW).unwrap();
    assert_eq!(memory.put(mm, region, true), Err(Errno::EBUSY), "entries lead there");
    table.clear();
    assert_eq!((memory.len(), mm.locked().locked_pages()), (1, 4), "an orphan stays");
    assert_eq!(memory.find(machine.ram, 4 * PAGE), Some(region));
    assert_eq!(memory.put(mm, region, true), Ok(()));
    assert_eq!((memory.len(), mm.locked().locked_pages()), (0, 0));
}

#[test]
fn without_leaks_an_orphan_goes_with_its_last_entry() {
    let machine = Machine::new();
    let (memory, mm) = (machine.memory(), &machine.mm);
    let region = machine.register(0, 4);
    let table = machine.table(true, 12, 1024);
    table.map(START, machine.ram, 4, Prot::RW).unwrap();
    assert_eq!(memory.put(mm, region, false), Err(Errno::EBUSY));
    table.unmap(START, 3).unwrap();
    assert_eq!(memory.len(), 1);
    table.unmap(START + 3 * SMALL, 1).unwrap();
    assert_eq!((memory.len(), mm.locked().locked_pages(), memory.real().pinned_objects()), (0, 0, 0));
}

#[test]
fn registering_refuses_in_the_kernels_order_and_keeps_no_charge() {
    let machine = Machine::new();
    let (memory, mm) = (machine.memory(), &machine.mm);
    let end = machine.ram + RAM_PAGES * PAGE;
    machine.register(1, 1);
    assert_eq!(memory.register(mm, machine.ram, 4096), Err(Errno::EINVAL));
    assert_eq!(memory.register(mm, machine.ram, 0), Err(Errno::ENOMEM));
    assert_eq!(memory.register(mm, machine.ram, 2 * PAGE), Err(Errno::EINVAL), "overlaps");
    assert_eq!(memory.register(mm, end, PAGE), Err(Errno::EFAULT));
    assert_eq!(
        memory.register(mm, machine.ram, (RAM_PAGES + 1) * PAGE),
        Ok(Registration::Partial(RAM_PAGES))
    );
    mm.locked().set_limits(Limits { memlock: 2 * PAGE, cap_ipc_lock: false });
    assert_eq!(memory.register(mm, end, 2 * PAGE), Err(Errno::ENOMEM), "the charge comes first");
    assert_eq!(mm.locked().locked_pages(), 1);
}

#[test]
fn a_window_of_terabytes_costs_what_is_mapped_in_it() {
    let machine = Machine::new();
    machine.register(0, RAM_PAGES);
    let table = machine.table(true, 16, 1 << 40);
    let last = START + ((1_u64 << 40) - 1) * PAGE;
    table.map(last, machine.ram, 1, Prot::RW).unwrap();
    assert_eq!(table.map(last, machine.ram, 2, Prot::RW), Err(Errno::EINVAL), "past the end");
    table.clear();
    assert_eq!(table.entry(last), Some(Tce::NONE));
    assert_eq!(table.entry(last + PAGE), None);
}

#[test]
fn impossible_windows_are_refused() {
    let machine = Machine::new();
    let good = TceGeometry {
        start: 0,
        page_shift: 12,
        entries: 512,
        level_bits: vec![9],
        registered: false,
        write_implies_read: false,
    };
    let new = |geometry| TceTable::new(geometry, &machine.mm).map(drop);
    assert_eq!(new(TceGeometry { page_shift: 11, ..good.clone() }), Err(Errno::EINVAL));
    assert_eq!(new(TceGeometry { start: 1, ..good.clone() }), Err(Errno::EINVAL));
    assert_eq!(new(TceGeometry { entries: 0, ..good.clone() }), Err(Errno::EINVAL));
    assert_eq!(new(TceGeometry { entries: u64::MAX, ..good.clone() }), Err(Errno::EINVAL));
    assert_eq!(new(TceGeometry { entries: 513, ..good.clone() }), Err(Errno::ENOMEM));
    assert_eq!(new(TceGeometry { level_bits: vec![40, 40], ..good.clone() }), Err(Errno::ENOMEM));
    assert_eq!(new(good), Ok(()));
}
