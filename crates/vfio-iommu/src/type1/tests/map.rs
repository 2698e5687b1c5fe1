//! `MAP_DMA`.

use super::*;

const READDRESS: u32 = 4;
const INVALIDATE: u32 = 4;
const ALL: u32 = 2;

fn refused(machine: &Machine, flags: u32, vaddr: u64, iova: u64, size: u64) -> Errno {
    let before = (machine.locked(), machine.type1.info());
    let errno = machine.type1.map_dma(&machine.mm, &MapDma { flags, vaddr, iova, size }).unwrap_err();
    assert_eq!(before, (machine.locked(), machine.type1.info()), "a failed call changes nothing");
    errno
}

#[test]
fn checks_come_in_the_order_of_the_kernel() {
    let machine = Machine::new(true, pages(4));
    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    machine.map(0x10000, 1, 0).unwrap();
    let (ram, top) = (machine.ram, !0xfff_u64);

    assert_eq!(refused(&machine, 0x13, ram, top, 0x2000), Errno::EINVAL, "flags before the wrap");
    assert_eq!(refused(&machine, RW, ram, 0x1000, 0), Errno::EINVAL, "size zero before the wrap");
    assert_eq!(refused(&machine, RW, ram, top + 1, 0x1000), Errno::EOVERFLOW, "wrap before alignment");
    assert_eq!(refused(&machine, 0, ram, top, 0x2000), Errno::EOVERFLOW, "wrap before missing rights");
    assert_eq!(refused(&machine, RW, top, 0, 0x2000), Errno::EOVERFLOW, "vaddr wraps");
    assert_eq!(refused(&machine, 7, ram, 0x10001, 0x1000), Errno::EINVAL, "rights and VADDR");
    assert_eq!(refused(&machine, RW, ram + 1, 0x10000, 0x1000), Errno::EINVAL, "alignment before overlap");
    assert_eq!(refused(&machine, READDRESS, ram, 0x20000, 0x1000), Errno::ENOENT);
    assert_eq!(refused(&machine, READDRESS, ram, 0x10000, 0x1000), Errno::EINVAL, "its address is valid");
    assert_eq!(refused(&machine, RW, 0, 0xf000, 0x2000), Errno::EEXIST, "overlap before memory");
    assert_eq!(refused(&machine, RW, 0, 0xfee0_0000, 0x1000), Errno::EINVAL, "reserved before memory");
    assert_eq!(refused(&machine, RW, ram, 1 << 48, 0x1000), Errno::EINVAL, "outside the aperture");
    assert_eq!(refused(&machine, RW, 0x1000, 0, 0x1000), Errno::EFAULT);
    assert_eq!(refused(&machine, RW, ram, 0x20000, 0x4000), Errno::ENOMEM);
}

#[test]
fn the_entry_limit_comes_after_overlap_and_before_ranges() {
    let (mm, ram) = process(UNLIMITED);
    let machine = Machine { mm, ram, type1: Type1::new(true, 1) };
    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    machine.map(0, 1, 0).unwrap();
    assert_eq!(machine.type1.info().dma_avail, 0);
    assert_eq!(machine.map(0, 1, 0), Err(Errno::EEXIST));
    assert_eq!(machine.map(0xfee0_0000, 1, 0), Err(Errno::ENOSPC));
    machine.unmap(0, 1).unwrap();
    assert_eq!(machine.map(0xfee0_0000, 1, 0), Err(Errno::EINVAL));
}

#[test]
fn whichever_comes_first_decides_between_the_limit_and_missing_memory() {
    let machine = Machine::new(true, pages(8));
    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    machine.mm.unmap(machine.ram + 8 * PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(machine.map(0, 16, 0), Err(Errno::EFAULT), "page 8 is missing, and 9 would be too many");
    assert_eq!(machine.map(0, 9, 9), Err(Errno::ENOMEM));
    assert_eq!(machine.map(0, 9, 0), Err(Errno::EFAULT));
    assert_eq!(machine.map(0, 8, 0), Ok(()));
    assert_eq!(machine.locked(), 8);
}

#[test]
fn a_page_counts_as_often_as_it_is_mapped_or_locked() {
    let machine = Machine::hw();
    machine.mm.mlock(machine.ram, PAGE_SIZE).unwrap();
    machine.map(0x1000, 1, 0).unwrap();
    machine.map(0x2000, 1, 0).unwrap();
    assert_eq!(machine.locked(), 3);
    machine.unmap_flags(ALL, 0, 0).unwrap();
    assert_eq!(machine.locked(), 1);
}

#[test]
fn rights_need_the_same_of_the_memory() {
    let machine = Machine::hw();
    machine.mm.protect(machine.ram, PAGE_SIZE, Prot::READ).unwrap();
    assert_eq!(machine.map_flags(2, 0, 1, 0), Err(Errno::EFAULT));
    assert_eq!(machine.map_flags(1, 0, 1, 0), Ok(()));
    machine.mm.protect(machine.ram + PAGE_SIZE, PAGE_SIZE, Prot::empty()).unwrap();
    assert_eq!(machine.map_flags(1, 0x1000, 1, 1), Err(Errno::EFAULT));
}

#[test]
fn mediated_devices_alone_restrict_nothing() {
    let machine = Machine::emulated_with(pages(0));
    let map =
        |iova| machine.type1.map_dma(&machine.mm, &MapDma { flags: RW, vaddr: !0xfff, iova, size: 0x1000 });
    assert_eq!(map(0xfee0_0000), Ok(()));
    assert_eq!(map(!0xfff), Ok(()));
    assert_eq!(machine.locked(), 0);
    let info = machine.type1.info();
    assert_eq!((info.pgsizes, info.iova_ranges), (!0xfff, None));
}

#[test]
fn an_address_that_was_taken_away_can_be_given_anew() {
    let machine = Machine::hw();
    machine.map(0x1000, 2, 0).unwrap();
    assert_eq!(machine.unmap_flags(INVALIDATE, 0x1000, 2), Ok(0x2000));
    assert_eq!(machine.map_flags(READDRESS, 0x1000, 1, 4), Err(Errno::EINVAL), "not exactly this one");
    assert_eq!(machine.map_flags(READDRESS, 0x1000, 2, 4), Ok(()));
    assert_eq!(machine.map_flags(READDRESS, 0x1000, 2, 4), Err(Errno::EINVAL), "once only");
    assert_eq!(machine.locked(), 2);
}

#[test]
fn a_new_address_in_another_process_moves_the_charge() {
    let machine = Machine::hw();
    machine.map(0x1000, 2, 0).unwrap();
    machine.unmap_flags(INVALIDATE, 0x1000, 2).unwrap();

    let readdress = |mm, vaddr| {
        machine.type1.map_dma(mm, &MapDma { flags: READDRESS, vaddr, iova: 0x1000, size: 0x2000 })
    };
    let (poor, ram) = process(pages(1));
    assert_eq!(readdress(&poor, ram), Err(Errno::ENOMEM));
    assert_eq!((machine.locked(), poor.locked().locked_pages()), (2, 0));
    let (heir, ram) = process(pages(2));
    assert_eq!(readdress(&heir, ram), Ok(()));
    assert_eq!((machine.locked(), heir.locked().locked_pages()), (0, 2));
    machine.unmap(0x1000, 2).unwrap();
    assert_eq!(heir.locked().locked_pages(), 0);
}

#[test]
fn a_batch_stops_at_the_first_refusal() {
    let machine = Machine::hw();
    let request = |iova| MapDma { flags: RW, vaddr: machine.ram, iova, size: PAGE_SIZE };
    let requests = [request(0), request(0x1000), request(0x1000), request(0x2000)];
    let batch = machine.type1.map_batch(&machine.mm, requests);
    assert_eq!(batch, Batch { done: 2, refused: Some(Errno::EEXIST) });
    assert_eq!(machine.type1.mapping_count(), 2);

    let unmap = |iova| UnmapDma { flags: 0, iova, size: PAGE_SIZE };
    let mut requests = [unmap(0), unmap(0x8000), unmap(0x1000), unmap(1)];
    let batch = machine.type1.unmap_batch(&mut requests);
    assert_eq!(batch, Batch { done: 3, refused: Some(Errno::EINVAL) });
    assert_eq!(requests.map(|request| request.size), [0x1000, 0, 0x1000, 0x1000]);
    assert_eq!((machine.type1.mapping_count(), machine.locked()), (0, 0));
}

#[test]
fn dropping_the_last_handle_gives_everything_back() {
    let Machine { mm, ram, type1 } = Machine::hw();
    type1.map_dma(&mm, &MapDma { flags: RW, vaddr: ram, iova: 0, size: 0x4000 }).unwrap();
    assert_eq!(mm.locked().locked_pages(), 4);
    drop(type1);
    assert_eq!(mm.locked().locked_pages(), 0);
}
