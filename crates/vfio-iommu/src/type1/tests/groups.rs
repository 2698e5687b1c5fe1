//! Attaching and detaching.

use super::*;

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(start, last).unwrap()
}

#[test]
fn the_first_hardware_pins_what_mediated_devices_left_alone() {
    let machine = Machine::emulated();
    machine.map(0x10000, 4, 0).unwrap();
    let mdev = machine.mdev();
    mdev.pin_pages(0x11000, 2, Prot::RW).unwrap();
    assert_eq!(machine.locked(), 2);

    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    assert_eq!(machine.locked(), 4, "pinned pages are not charged twice");
    assert_eq!(machine.type1.info().pgsizes, 0x4020_1000);
    mdev.unpin_pages(0x11000, 1);
    mdev.pin_pages(0x13000, 1, Prot::RW).unwrap();
    assert_eq!(machine.locked(), 4, "hardware has it all charged");

    machine.type1.detach(GROUP);
    assert_eq!(machine.locked(), 2, "what drivers hold stays charged");
    let info = machine.type1.info();
    assert_eq!((info.pgsizes, info.iova_ranges), (!0xfff, Some(vec![IovaRange::ALL])));
    machine.type1.detach(MDEV_GROUP);
    assert_eq!((machine.type1.mapping_count(), machine.locked()), (0, 0));
}

#[test]
fn a_mapping_that_cannot_be_pinned_keeps_hardware_out() {
    let machine = Machine::emulated_with(pages(3));
    machine.map(0x0, 1, 0).unwrap();
    machine.map(0x10000, 2, RAM_PAGES - 1).unwrap();
    let attach = || machine.type1.attach_hw(GROUP, &HwIommu::x86());
    let space = machine.type1.space_for(DeviceId(2), "nic", DeviceKind::Hw);

    assert_eq!(attach(), Err(Errno::EFAULT));
    assert_eq!(machine.locked(), 0);
    assert!(space.read(0, &mut [0]).is_err(), "what had been mapped is taken back");
    machine.unmap(0x10000, 2).unwrap();
    machine.map(0x10000, 3, 0).unwrap();
    assert_eq!(attach(), Err(Errno::ENOMEM));
    machine.unmap(0x10000, 3).unwrap();
    machine.map(0xfee0_0000, 1, 0).unwrap();
    assert_eq!(attach(), Err(Errno::EINVAL), "in the interrupt window");
    machine.unmap(0xfee0_0000, 1).unwrap();
    machine.map(1 << 48, 1, 0).unwrap();
    assert_eq!(attach(), Err(Errno::ERANGE), "beyond the aperture");
    machine.unmap(1 << 48, 1).unwrap();
    assert_eq!(machine.locked(), 0);
    assert_eq!(attach(), Ok(()));
    assert_eq!(attach(), Err(Errno::EINVAL), "twice");
    assert!(space.read(0, &mut [0]).is_ok());
}

#[test]
fn after_hardware_has_left_its_limits_are_checked_before_pinning() {
    let machine = Machine::hw();
    machine.type1.attach_emulated(MDEV_GROUP).unwrap();
    machine.type1.detach(GROUP);
    machine.map(1 << 48, 1, 0).unwrap();
    assert_eq!(machine.type1.attach_hw(GROUP, &HwIommu::x86()), Err(Errno::EINVAL));
}

#[test]
fn geometries_of_several_groups_are_intersected() {
    let machine = Machine::hw();
    let narrow = HwIommu {
        pgsizes: 1 << 12 | 1 << 30,
        aperture: range(0x1000, 0xffff_ffff),
        reserved: vec![
            ReservedRegion { range: range(0x8000, 0x8fff), kind: ReservedKind::DirectRelaxable },
            ReservedRegion { range: range(0x9000, 0x9fff), kind: ReservedKind::Reserved },
        ],
        cache_coherency: true,
    };
    machine.map(0, 1, 0).unwrap();
    assert_eq!(machine.type1.attach_hw(27, &narrow), Err(Errno::EINVAL), "a mapping below its aperture");
    machine.unmap(0, 1).unwrap();
    machine.map(0x8000, 1, 0).unwrap();
    machine.type1.attach_hw(27, &narrow).unwrap();
    let info = machine.type1.info();
    assert_eq!(info.pgsizes, 1 << 12 | 1 << 30);
    let usable = [range(0x1000, 0x8fff), range(0xa000, 0xfedf_ffff), range(0xfef0_0000, 0xffff_ffff)];
    assert_eq!(info.iova_ranges.unwrap(), usable);
    assert_eq!(machine.map(0x9000, 1, 0), Err(Errno::EINVAL));
    assert_eq!(machine.locked(), 1, "the second domain pins nothing again");

    machine.type1.detach(27);
    let usable = [range(0, 0xfedf_ffff), range(0xfef0_0000, (1 << 48) - 1)];
    assert_eq!(machine.type1.info().iova_ranges.unwrap(), usable);
    assert_eq!(machine.type1.mapping_count(), 1);
    machine.type1.detach(GROUP);
    assert_eq!((machine.type1.mapping_count(), machine.locked()), (0, 0));
}

#[test]
fn hardware_without_a_common_page_size_is_refused() {
    let machine = Machine::hw();
    let large = HwIommu { pgsizes: 1 << 16, ..HwIommu::x86() };
    assert_eq!(machine.type1.attach_hw(27, &large), Err(Errno::EINVAL));
    machine.type1.detach(GROUP);
    machine.type1.attach_hw(27, &large).unwrap();
    assert_eq!(machine.map(0x1000, 1, 0), Err(Errno::EINVAL), "mappings have the size of its pages");
    let small = HwIommu { pgsizes: 1 << 9 | 1 << 16, ..HwIommu::x86() };
    machine.type1.detach(27);
    machine.type1.attach_hw(27, &small).unwrap();
    assert_eq!(
        machine.type1.info().pgsizes,
        1 << 12 | 1 << 16,
        "smaller pages count as those of the machine"
    );
}

#[test]
fn extensions_depend_on_the_groups() {
    const CC: u32 = 4;
    const VADDR: u32 = 10;
    assert_eq!([1, 3, 9].map(Type1::driver_extension), [1, 1, 1]);
    assert_eq!([0, 2, CC, 5, 6, 8, VADDR, 11].map(Type1::driver_extension), [0; 8]);
    let machine = Machine::emulated();
    let answers = || [CC, VADDR, 9].map(|extension| machine.type1.check_extension(extension));
    assert_eq!(answers(), [1, 0, 1]);
    machine.type1.attach_hw(GROUP, &HwIommu { cache_coherency: true, ..HwIommu::x86() }).unwrap();
    assert_eq!(answers(), [1, 0, 1]);
    machine.type1.attach_hw(27, &HwIommu::x86()).unwrap();
    machine.type1.detach(MDEV_GROUP);
    assert_eq!(answers(), [0, 1, 1]);
}
