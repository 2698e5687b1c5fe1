//! What devices see.

use super::*;
use crate::{Access, FaultReason, MapChange};

const NIC: DeviceId = DeviceId(2);

fn nic(machine: &Machine) -> Arc<dyn DmaSpace> {
    machine.type1.space_for(NIC, "nic", DeviceKind::Hw)
}

fn reason<T: std::fmt::Debug>(result: Result<T, crate::DmaFault>) -> FaultReason {
    result.unwrap_err().reason
}

#[test]
fn both_kinds_reach_the_memory_of_the_process() {
    for machine in [Machine::hw(), Machine::emulated()] {
        let kind =
            if machine.type1.info().iova_ranges.is_some() { DeviceKind::Hw } else { DeviceKind::Emulated };
        let space = machine.type1.space_for(NIC, "device", kind);
        machine.map(0x10000, 2, 5).unwrap();
        machine.map(0x12000, 1, 20).unwrap();
        let mut bytes = [0; 0x1002];
        space.read(0x11fff, &mut bytes[..2]).unwrap();
        assert_eq!(bytes[..2], [6, 20], "across two mappings");
        space.read(0x10fff, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[0x1001]), (5, 6, 20));

        space.write(0x11ffe, &[1, 2, 3, 4]).unwrap();
        machine.mm.read(machine.ram + 20 * PAGE_SIZE, &mut bytes[..3]).unwrap();
        assert_eq!(bytes[..3], [3, 4, 20]);
        space.fill(0x11ffc, 7, 6).unwrap();
        machine.mm.read(machine.ram + 7 * PAGE_SIZE - 4, &mut bytes[..4]).unwrap();
        assert_eq!(bytes[..4], [7; 4]);
        assert_eq!(space.fetch_add_u32(0x10000, 1), Ok(0x0505_0505));
        assert_eq!(space.compare_exchange_u64(0x10000, 0, 9), Ok(0x0505_0505_0505_0506));
        assert_eq!(reason(space.fetch_add_u64(0x10004, 1)), FaultReason::Misaligned);
        let translation = space.translate(0x10010, Access::Read).unwrap();
        assert_eq!(translation.len, 0x2000 - 0x10);
        space.read(0, &mut []).unwrap();
    }
}

#[test]
fn refused_accesses_copy_nothing_and_are_explained() {
    let machine = Machine::hw();
    let space = nic(&machine);
    machine.map(0x10000, 1, 5).unwrap();
    machine.map(0x20000, 1, 5).unwrap();
    machine.unmap(0x20000, 1).unwrap();

    assert!(space.write(0x10ffe, &[0xee; 4]).is_err());
    let mut bytes = [0; 2];
    space.read(0x10ffe, &mut bytes).unwrap();
    assert_eq!(bytes, [5; 2]);

    assert_eq!(reason(space.read(0x20000, &mut bytes)), FaultReason::NoMapping);
    assert_eq!(reason(space.read(0xfee0_0000, &mut bytes)), FaultReason::OutsideWindow);
    assert_eq!(reason(space.read(u64::MAX, &mut bytes)), FaultReason::OutsideWindow);
    assert_eq!(machine.type1.faults().total(), 4);
    let record = &machine.type1.faults().records()[1];
    assert_eq!(&*record.device, "nic");
    assert_eq!((record.fault.iova, record.fault.len), (0x20000, 2));
    assert_eq!(record.context.below, IovaRange::sized(0x10000, PAGE_SIZE));
    let event = record.context.last_change.unwrap();
    assert_eq!((event.change, event.range.start()), (MapChange::Unmapped, 0x20000));
}

#[test]
fn hardware_may_write_what_it_may_not_read_and_drivers_may_not() {
    let machine = Machine::hw();
    machine.type1.attach_emulated(MDEV_GROUP).unwrap();
    machine.map_flags(2, 0x1000, 1, 0).unwrap();
    machine.map_flags(1, 0x2000, 1, 0).unwrap();
    let (nic, mdev) = (nic(&machine), machine.mdev());
    assert_eq!(nic.write(0x1000, &[1]), Ok(()));
    assert_eq!(reason(nic.read(0x1000, &mut [0])), FaultReason::Permission);
    assert_eq!(reason(mdev.write(0x1000, &[1])), FaultReason::Permission);
    assert_eq!(mdev.read(0x2000, &mut [0]), Ok(()));
    assert_eq!(reason(nic.write(0x2000, &[1])), FaultReason::Permission);
    assert_eq!(reason(mdev.fetch_add_u32(0x2000, 1)), FaultReason::Permission);
}

#[test]
fn hardware_keeps_memory_that_the_process_unmapped_and_drivers_lose_it() {
    let machine = Machine::hw();
    machine.type1.attach_emulated(MDEV_GROUP).unwrap();
    machine.map(0x1000, 4, 3).unwrap();
    let (nic, mdev) = (nic(&machine), machine.mdev());
    machine.mm.unmap(machine.ram + 4 * PAGE_SIZE, PAGE_SIZE).unwrap();
    let mut byte = [0];
    nic.read(0x2000, &mut byte).unwrap();
    assert_eq!(byte, [4]);
    assert_eq!(reason(mdev.read(0x2000, &mut byte)), FaultReason::Detached);
    let mut bytes = [9; 0x2000];
    assert_eq!(reason(mdev.write(0x1800, &bytes)), FaultReason::Detached);
    mdev.read(0x1800, &mut bytes[..1]).unwrap();
    assert_eq!(bytes[0], 3, "nothing was written");
    machine.mm.clear();
    assert!(mdev.read(0x1000, &mut byte).is_err());
    assert!(nic.read(0x1000, &mut byte).is_ok());
}

#[test]
fn unmapped_is_out_of_reach() {
    let machine = Machine::hw();
    let space = nic(&machine);
    machine.map(0x1000, 1, 0).unwrap();
    assert!(space.read(0x1000, &mut [0]).is_ok());
    machine.unmap(0x1000, 1).unwrap();
    assert!(space.read(0x1000, &mut [0]).is_err());
}

#[test]
fn a_closed_device_reaches_nothing() {
    for kind in [DeviceKind::Hw, DeviceKind::Emulated] {
        let machine = Machine::hw();
        machine.map(0, 1, 0).unwrap();
        let space = machine.type1.space_for(NIC, "device", kind);
        machine.type1.close_device(NIC);
        assert_eq!(reason(space.read(0, &mut [0])), FaultReason::NotAttached);
        let space = machine.type1.space_for(NIC, "device", kind);
        machine.type1.close();
        assert_eq!(reason(space.read(0, &mut [0])), FaultReason::NotAttached);
        assert_eq!(machine.locked(), 0);
    }
}

#[test]
fn the_listener_of_faults_may_map_what_was_missing() {
    let machine = Arc::new(Machine::hw());
    let space = nic(&machine);
    let owner = Arc::downgrade(&machine);
    machine.type1.faults().set_listener(Some(Arc::new(move |record| {
        let machine = owner.upgrade().unwrap();
        machine.map(record.fault.iova & !0xfff, 1, 0).unwrap();
    })));
    assert!(space.read(0x5000, &mut [0]).is_err());
    assert!(space.read(0x5000, &mut [0]).is_ok());
    machine.type1.faults().set_listener(None);
}

#[test]
fn when_an_unmap_has_returned_no_access_is_in_flight() {
    for machine in [Machine::hw(), Machine::emulated()] {
        let kind =
            if machine.type1.info().iova_ranges.is_some() { DeviceKind::Hw } else { DeviceKind::Emulated };
        let space = machine.type1.space_for(NIC, "device", kind);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut byte = [0];
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = space.write(0x1fff, &[0xee; 2]);
                    }
                });
            }
            for _ in 0..300 {
                machine.map(0x1000, 2, 0).unwrap();
                machine.unmap(0x1000, 2).unwrap();
                machine.mm.write(machine.ram + 0x1000, &[0]).unwrap();
                std::thread::yield_now();
                machine.mm.read(machine.ram + 0x1000, &mut byte).unwrap();
                assert_eq!(byte, [0]);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(machine.locked(), 0);
    }
}
