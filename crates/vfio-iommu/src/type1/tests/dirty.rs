//! `DIRTY_PAGES`, and bitmaps of `UNMAP_DMA`.

use super::*;

fn query(machine: &Machine, iova: u64, pages: u64, bitmap: &mut [u8]) -> Result<(), Errno> {
    let size = bitmap.len() as u64;
    let mut target = bitmap;
    let query = DirtyQuery { page_size: PAGE_SIZE, size, target: &mut target };
    machine.type1.dirty_get_bitmap(iova, pages * PAGE_SIZE, query)
}

fn bits(machine: &Machine, iova: u64, pages: u64, filled: u8) -> Vec<u8> {
    let mut bitmap = vec![filled; pages.div_ceil(64) as usize * 8];
    query(machine, iova, pages, &mut bitmap).unwrap();
    bitmap
}

#[test]
fn version_1_has_no_tracking() {
    let machine = Machine::new(false, UNLIMITED);
    assert_eq!(machine.type1.dirty_command(99), Err(Errno::EACCES));
    assert_eq!(machine.type1.dirty_start(), Err(Errno::EACCES));
    assert_eq!(machine.type1.dirty_stop(), Err(Errno::EACCES));
    assert_eq!(query(&machine, 0, 0, &mut [0; 8]), Err(Errno::EACCES));
}

#[test]
fn exactly_one_flag_is_a_command() {
    let machine = Machine::hw();
    let commands = [1, 2, 4].map(|flags| machine.type1.dirty_command(flags).unwrap());
    assert_eq!(commands, [DirtyCommand::Start, DirtyCommand::Stop, DirtyCommand::GetBitmap]);
    for flags in [0, 3, 5, 6, 7, 8, 0x8000_0000] {
        assert_eq!(machine.type1.dirty_command(flags), Err(Errno::EINVAL));
    }
}

#[test]
fn with_hardware_everything_is_dirty_always() {
    let machine = Machine::hw();
    machine.map(0x10000, 3, 0).unwrap();
    machine.type1.dirty_start().unwrap();
    machine.type1.dirty_start().unwrap();
    for _ in 0..2 {
        assert_eq!(bits(&machine, 0x10000, 3, 0xff), [7, 0, 0, 0, 0, 0, 0, 0]);
    }
    machine.type1.dirty_stop().unwrap();
    machine.type1.dirty_stop().unwrap();
    assert_eq!(query(&machine, 0x10000, 3, &mut [0; 8]), Err(Errno::EINVAL), "nothing is tracked");
}

#[test]
fn each_mapping_writes_whole_words_and_keeps_what_is_before_it() {
    let machine = Machine::hw();
    machine.map(0x3000, 2, 0).unwrap();
    machine.map(0x6000, 1, 0).unwrap();
    machine.map(66 * PAGE_SIZE, 2, 0).unwrap();
    machine.type1.dirty_start().unwrap();
    let bitmap = bits(&machine, 0, 256, 0xff);
    assert_eq!(bitmap[..8], [0b0101_1111, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bitmap[8..16], [0b1111, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bitmap[16..], [0xff; 16], "no mapping reaches them");
}

#[test]
fn a_mapping_that_straddles_words_is_shifted() {
    let machine = Machine::hw();
    machine.map(62 * PAGE_SIZE, RAM_PAGES, 0).unwrap();
    machine.type1.dirty_start().unwrap();
    let bitmap = bits(&machine, 0, 128, 0);
    assert_eq!(bitmap[..8], [0, 0, 0, 0, 0, 0, 0, 0b1100_0000]);
    assert_eq!(bitmap[8..], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0b0011_1111]);
}

#[test]
fn a_mediated_device_dirties_what_it_writes_once_and_what_it_pins_always() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    machine.map(0x10000, 8, 0).unwrap();
    mdev.pin_pages(0x17000, 1, Prot::RW).unwrap();
    machine.type1.dirty_start().unwrap();
    assert_eq!(bits(&machine, 0x10000, 8, 0)[0], 0b1000_0000);

    mdev.write(0x10ffe, &[0; 4]).unwrap();
    mdev.read(0x13000, &mut [0; 4]).unwrap();
    mdev.fill(0x14000, 0, 1).unwrap();
    mdev.fetch_add_u32(0x15000, 1).unwrap();
    mdev.pin_pages(0x16000, 1, Prot::READ).unwrap();
    mdev.unpin_pages(0x16000, 1);
    assert_eq!(bits(&machine, 0x10000, 8, 0)[0], 0b1111_0011);
    assert_eq!(bits(&machine, 0x10000, 8, 0)[0], 0b1000_0000);
    mdev.unpin_pages(0x17000, 1);
    assert_eq!(bits(&machine, 0x10000, 8, 0)[0], 0b1000_0000, "pinned at the last report");
    assert_eq!(bits(&machine, 0x10000, 8, 0)[0], 0);
}

#[test]
fn what_departed_hardware_wrote_is_reported_once() {
    let machine = Machine::hw();
    machine.type1.attach_emulated(MDEV_GROUP).unwrap();
    machine.map(0, 2, 0).unwrap();
    machine.type1.dirty_start().unwrap();
    machine.type1.detach(GROUP);
    assert_eq!(bits(&machine, 0, 2, 0)[0], 0b11);
    assert_eq!(bits(&machine, 0, 2, 0)[0], 0);
}

#[test]
fn queries_are_checked() {
    let machine = Machine::emulated();
    machine.map(0x10000, 2, 0).unwrap();
    assert_eq!(query(&machine, 0x10000, 2, &mut [0; 8]), Err(Errno::EINVAL), "nothing is tracked");
    machine.type1.dirty_start().unwrap();
    assert_eq!(query(&machine, 0x10000, 0, &mut [0; 8]), Err(Errno::EINVAL));
    assert_eq!(query(&machine, !0xfff, 2, &mut []), Err(Errno::EOVERFLOW), "wrap before the bitmap");
    assert_eq!(query(&machine, 0x10000, 65, &mut [0; 15]), Err(Errno::EINVAL), "too small");
    assert_eq!(query(&machine, 0x10000, 1, &mut [0; 8]), Err(Errno::EINVAL), "cuts the mapping");
    assert_eq!(query(&machine, 0xf000, 2, &mut [0; 8]), Err(Errno::EINVAL), "cuts the mapping");
    assert_eq!(query(&machine, 0x10800, 2, &mut [0; 8]), Err(Errno::EINVAL), "not aligned");
    let user = |address, size, page_size| {
        let mut target = UserBitmap { mm: &machine.mm, address };
        let query = DirtyQuery { page_size, size, target: &mut target };
        machine.type1.dirty_get_bitmap(0x10000, 0x2000, query)
    };
    assert_eq!(user(machine.ram, 8, 0), Err(Errno::EINVAL));
    assert_eq!(user(machine.ram, 8, 0x2000), Err(Errno::EINVAL));
    assert_eq!(user(machine.ram, 0x1000_0001, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(user(u64::MAX, 8, PAGE_SIZE), Err(Errno::EINVAL), "no process has that address");
    assert_eq!(user(0, 8, PAGE_SIZE), Err(Errno::EFAULT));
    assert_eq!(user(machine.ram, 8, PAGE_SIZE), Ok(()));
}

#[test]
fn a_mapping_too_large_for_a_bitmap_is_not_tracked() {
    let machine = Machine::emulated();
    let huge = MapDma { flags: RW, vaddr: 0, iova: 1 << 44, size: 1 << 43 };
    machine.type1.map_dma(&machine.mm, &huge).unwrap();
    machine.map(0, 1, 0).unwrap();
    assert_eq!(machine.type1.dirty_start(), Err(Errno::EINVAL));
    machine.unmap_flags(2, 0, 0).unwrap();
    machine.type1.dirty_start().unwrap();
    assert_eq!(machine.type1.map_dma(&machine.mm, &huge), Err(Errno::EINVAL));
    assert_eq!(machine.type1.info().dma_avail, 65_535);
    assert_eq!(machine.type1.map_dma(&machine.mm, &MapDma { size: (1 << 43) - 0x1000, ..huge }), Ok(()));
}

#[test]
fn unmapping_reports_on_request() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    machine.type1.dirty_start().unwrap();
    machine.map(0x10000, 2, 0).unwrap();
    machine.map(0x14000, 2, 0).unwrap();
    mdev.write(0x15000, &[1]).unwrap();
    let unmap = |pages: u64, page_size, mut target: &mut [u8]| {
        let query = DirtyQuery { page_size, size: target.len() as u64, target: &mut target };
        let request = UnmapDma { flags: 1, iova: 0x10000, size: pages * PAGE_SIZE };
        machine.type1.unmap_dma(&request, Some(query))
    };
    let mut bitmap = [0xff; 8];
    assert_eq!(unmap(6, 0x2000, &mut bitmap), Err(Errno::EINVAL));
    assert_eq!(unmap(6, PAGE_SIZE, &mut []), Err(Errno::EINVAL));
    assert_eq!(unmap(6, PAGE_SIZE, &mut bitmap), Ok(0x4000));
    assert_eq!(bitmap, [0b10_0000, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_bitmap_that_cannot_be_written_stops_an_unmap() {
    let machine = Machine::hw();
    machine.type1.dirty_start().unwrap();
    machine.map(0, 64, 0).unwrap();
    machine.map(64 * PAGE_SIZE, 1, 0).unwrap();
    let end = machine.ram + RAM_PAGES * PAGE_SIZE;
    let mut target = UserBitmap { mm: &machine.mm, address: end - 8 };
    let query = DirtyQuery { page_size: PAGE_SIZE, size: 16, target: &mut target };
    let request = UnmapDma { flags: 1, iova: 0, size: 65 * PAGE_SIZE };
    assert_eq!(machine.type1.unmap_dma(&request, Some(query)), Err(Errno::EFAULT));
    assert_eq!((machine.type1.mapping_count(), machine.locked()), (1, 1), "the one below is gone");
}

#[test]
fn ranges_say_what_the_bitmap_says() {
    let machine = Machine::emulated();
    let space = machine.mdev();
    machine.map(0, 40, 0).unwrap();
    machine.map(0x10_0000, 8, 48).unwrap();
    assert_eq!(machine.type1.dirty_take_ranges(0, 0x20_0000), Err(Errno::EINVAL), "nothing is tracked");
    machine.type1.dirty_start().unwrap();
    assert_eq!(machine.type1.dirty_take_ranges(0, 0x20_0000), Ok(Vec::new()));
    for iova in [0x3000, 0x4000, 0x9008, 0x10_7fff] {
        space.write(iova, &[1]).unwrap();
    }
    let range = |start, last| IovaRange::new(start, last).unwrap();
    let dirty = vec![range(0x3000, 0x4fff), range(0x9000, 0x9fff), range(0x10_7000, 0x10_7fff)];
    assert_eq!(machine.type1.dirty_take_ranges(0, 0x20_0000), Ok(dirty));
    assert_eq!(machine.type1.dirty_take_ranges(0, 0x20_0000), Ok(Vec::new()));
    assert_eq!(machine.type1.dirty_take_ranges(0x1000, 0x1000), Err(Errno::EINVAL), "it cuts a mapping");
    assert_eq!(machine.type1.dirty_take_ranges(0, 0), Err(Errno::EINVAL));

    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    let all = vec![range(0, 40 * PAGE_SIZE - 1), range(0x10_0000, 0x10_7fff)];
    assert_eq!(machine.type1.dirty_take_ranges(0, 0x20_0000), Ok(all));
}
