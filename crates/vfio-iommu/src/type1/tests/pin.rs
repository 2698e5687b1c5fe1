//! Pages that drivers of mediated devices pin.

use super::*;

#[test]
fn a_page_is_charged_once_however_often_it_is_pinned() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    machine.map(0x10000, 4, 8).unwrap();
    let spans = mdev.pin_pages(0x10000, 2, Prot::RW).unwrap();
    assert_eq!(spans.iter().map(|span| span.len).sum::<u64>(), 2 * PAGE_SIZE);
    let mut byte = [0];
    spans[0].memory.read(spans[0].offset + PAGE_SIZE, &mut byte).unwrap();
    assert_eq!(byte, [9]);
    mdev.pin_pages(0x11000, 3, Prot::READ).unwrap();
    assert_eq!(machine.locked(), 4);
    mdev.unpin_pages(0x10000, 4);
    assert_eq!(machine.locked(), 1, "the second page is pinned still");
    mdev.unpin_pages(0x10000, 100);
    mdev.unpin_pages(0x10000, 100);
    assert_eq!(machine.locked(), 0);
}

#[test]
fn refusals_come_page_by_page_and_leave_nothing() {
    let machine = Machine::emulated_with(pages(3));
    let mdev = machine.mdev();
    machine.map(0x10000, 2, 0).unwrap();
    machine.map_flags(1, 0x12000, 2, RAM_PAGES - 1).unwrap();
    machine.map(0x20000, 8, 0).unwrap();
    assert_eq!(mdev.pin_pages(0x10000, 3, Prot::RW).unwrap_err(), Errno::EPERM);
    assert_eq!(mdev.pin_pages(0x10000, 4, Prot::READ).unwrap_err(), Errno::EFAULT);
    assert_eq!(mdev.pin_pages(0xf000, 1, Prot::READ).unwrap_err(), Errno::EINVAL);
    assert_eq!(mdev.pin_pages(0x20000, 4, Prot::READ).unwrap_err(), Errno::ENOMEM);
    assert_eq!(mdev.pin_pages(0x20000, u64::MAX, Prot::READ).unwrap_err(), Errno::EINVAL);
    assert_eq!(mdev.pin_pages(0x20000, 0, Prot::READ).unwrap_err(), Errno::EINVAL);
    assert_eq!(machine.locked(), 0);
    assert!(mdev.pin_pages(0x10000, 3, Prot::READ).is_ok(), "two mappings at once");
    assert_eq!(machine.locked(), 3);
}

#[test]
fn only_devices_that_hear_of_unmaps_pin_in_version_2() {
    let machine = Machine::emulated();
    let deaf = machine.type1.space_for(MDEV, "mdev", DeviceKind::Emulated);
    machine.map(0, 1, 0).unwrap();
    assert_eq!(deaf.pin_pages(0, 1, Prot::RW).unwrap_err(), Errno::EINVAL);
    let hw = machine.type1.space_for(DeviceId(2), "nic", DeviceKind::Hw);
    assert_eq!(hw.pin_pages(0, 1, Prot::RW).unwrap_err(), Errno::EINVAL);

    let first = Machine::new(false, UNLIMITED);
    first.type1.attach_emulated(MDEV_GROUP).unwrap();
    assert_eq!(first.mdev().pin_pages(0, 1, Prot::RW).unwrap_err(), Errno::EACCES);
}

#[test]
fn a_pinned_page_stays_the_same_when_its_address_gets_another() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    machine.map(0x10000, 2, 4).unwrap();
    mdev.pin_pages(0x10000, 1, Prot::RW).unwrap();
    machine.mm.unmap(machine.ram, RAM_PAGES * PAGE_SIZE).unwrap();
    let again = mdev.pin_pages(0x10000, 1, Prot::RW).unwrap();
    let mut byte = [0];
    again[0].memory.read(again[0].offset, &mut byte).unwrap();
    assert_eq!(byte, [4]);
    assert_eq!(mdev.pin_pages(0x11000, 1, Prot::RW).unwrap_err(), Errno::EFAULT);
    assert!(mdev.read(0x10000, &mut byte).is_err(), "plain accesses look the address up");
}

#[test]
fn closing_a_device_takes_only_its_own_pins() {
    let machine = Machine::emulated();
    let other = DeviceId(2);
    let mdev = machine.mdev();
    let second = machine.type1.space_for(other, "second", DeviceKind::Emulated);
    machine.type1.register_listener(other, Arc::new(Heard::default()));
    machine.map(0x10000, 4, 0).unwrap();
    mdev.pin_pages(0x10000, 2, Prot::RW).unwrap();
    second.pin_pages(0x11000, 2, Prot::RW).unwrap();
    assert_eq!(machine.locked(), 3, "a page that both have counts once");
    mdev.unpin_pages(0x12000, 1);
    assert_eq!(machine.locked(), 3, "not its own");
    machine.type1.close_device(MDEV);
    assert_eq!(machine.locked(), 2);
    machine.type1.close_device(MDEV);
    machine.type1.close_device(other);
    assert_eq!(machine.locked(), 0);
}

#[test]
fn more_pins_than_a_counter_holds_are_counted() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    machine.map(0, 1, 0).unwrap();
    for _ in 0..70_000 {
        mdev.pin_pages(0, 1, Prot::RW).unwrap();
    }
    for _ in 0..69_999 {
        mdev.unpin_pages(0, 1);
    }
    assert_eq!(machine.locked(), 1);
    mdev.unpin_pages(0, 1);
    assert_eq!(machine.locked(), 0);
}

#[test]
fn huge_requests_on_huge_mappings_come_back() {
    let machine = Machine::emulated();
    let mdev = machine.mdev();
    let huge = MapDma { flags: RW, vaddr: 0, iova: 0, size: 1 << 63 };
    machine.type1.map_dma(&machine.mm, &huge).unwrap();
    assert_eq!(mdev.pin_pages(0, 1 << 51, Prot::RW).unwrap_err(), Errno::EFAULT);
    mdev.unpin_pages(0, u64::MAX);
    let ram = machine.ram;
    mdev.pin_pages(ram, RAM_PAGES, Prot::RW).unwrap();
    assert_eq!(machine.locked(), RAM_PAGES);
    mdev.unpin_pages(0, u64::MAX);
    assert_eq!(machine.locked(), 0);
}

#[test]
fn a_batch_of_pins_is_one_pin_of_each_page() {
    let machine = Machine::emulated_with(pages(3));
    let space = machine.mdev();
    machine.map(0x10_0000, 4, 8).unwrap();
    machine.map(0x20_0000, 4, 20).unwrap();
    let iovas = [0x10_3000, 0x20_0010, 0x10_3008];
    let mut hosts = [0; 3];
    space.pin_batch(&iovas, Prot::RW, &mut hosts).unwrap();
    assert_eq!(machine.locked(), 2);
    let host = |iova: u64| space.translate(iova & !0xfff, crate::Access::Write).unwrap().host;
    assert_eq!(hosts, iovas.map(host));

    let over = [0x10_0000, 0x10_1000];
    assert_eq!(space.pin_batch(&over, Prot::RW, &mut [0; 2]), Err(Errno::ENOMEM));
    assert_eq!(space.pin_batch(&[0x10_0000, 0x30_0000], Prot::RW, &mut [0; 2]), Err(Errno::EINVAL));
    assert_eq!(space.pin_batch(&over, Prot::RW, &mut [0; 1]), Err(Errno::EINVAL));
    assert_eq!(machine.locked(), 2, "a refused batch pins nothing");

    space.unpin_batch(&[0x10_3000, 0x40_0000, 0x20_0000]);
    assert_eq!(machine.locked(), 1);
    space.unpin_batch(&[0x10_3000, 0x10_3000]);
    assert_eq!((machine.locked(), machine.type1.pin_memory_usage()), (0, 0));
}
