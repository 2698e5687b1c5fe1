//! What devices see through windows, and what cuts them off.

use std::sync::atomic::Ordering;

use super::*;
use crate::{Access, FaultReason, Stopped};

const START: u64 = 0x1000_0000;

#[test]
fn dma_crosses_entries_and_is_all_or_nothing() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    table.map(START, machine.ram + SMALL, 1, Prot::RW).unwrap();
    table.map(START + SMALL, machine.ram + 7 * SMALL, 1, Prot::RW).unwrap();
    let (endpoint, space) = device(&[&table], false);
    let mut bytes = [0; 8];
    space.read(START + SMALL - 4, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 1, 1, 1, 7, 7, 7, 7]);
    let fault = space.write(START + 2 * SMALL - 4, &[0xee; 8]).unwrap_err();
    assert_eq!((fault.iova, fault.reason), (START + 2 * SMALL, FaultReason::NoMapping));
    space.read(START + 2 * SMALL - 4, &mut bytes[..4]).unwrap();
    assert_eq!(bytes[..4], [7; 4], "nothing was written");
    let record = endpoint.faults().latest().unwrap();
    assert_eq!(
        record.context.below.map(|range| (range.start(), range.last())),
        Some((START, START + 2 * SMALL - 1))
    );
}

#[test]
fn rights_and_atomics_follow_the_entry() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    table.map(START, machine.ram, 1, Prot::READ).unwrap();
    table.map(START + SMALL, machine.ram, 1, Prot::WRITE).unwrap();
    table.map(START + 2 * SMALL, machine.ram, 1, Prot::RW).unwrap();
    let (_, space) = device(&[&table], false);
    let reason = |result: Result<(), crate::DmaFault>| result.err().map(|fault| fault.reason);
    assert_eq!(reason(space.write(START, &[1])), Some(FaultReason::Permission));
    assert_eq!(reason(space.read(START + SMALL, &mut [0])), Some(FaultReason::Permission));
    assert_eq!(reason(space.fetch_add_u32(START, 1).map(drop)), Some(FaultReason::Permission));
    assert_eq!(reason(space.fetch_add_u32(START + 1, 1).map(drop)), Some(FaultReason::Misaligned));
    assert_eq!(space.fetch_add_u32(START + 2 * SMALL, 5), Ok(0));
    assert_eq!(space.compare_exchange_u64(START + 2 * SMALL, 5, 9), Ok(5));
    assert_eq!(reason(space.fill(START, 1, 0)), None, "nothing is allowed");
    let found = space.translate(START + 16, Access::Read).unwrap();
    assert_eq!(found.len, SMALL - 16);
}

#[test]
fn hardware_that_cannot_forbid_reading_lets_writable_entries_be_read() {
    let machine = Machine::new();
    let geometry =
        TceGeometry { write_implies_read: true, ..machine.table(false, 12, 512).geometry().clone() };
    let table = TceTable::new(geometry, &machine.mm).unwrap();
    table.map(START, machine.ram, 1, Prot::WRITE).unwrap();
    assert_eq!(table.entry(START).map(Tce::prot), Some(Prot::RW));
}

#[test]
fn a_refused_dma_freezes_the_endpoint_until_it_is_thawed() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    table.map(START, machine.ram, 1, Prot::RW).unwrap();
    let (endpoint, space) = device(&[&table], true);
    assert_eq!(space.read(0, &mut [0]).unwrap_err().reason, FaultReason::OutsideWindow);
    assert_eq!((endpoint.stopped(), endpoint.freezes()), (Stopped::all(), 1));
    assert_eq!(space.read(START, &mut [0]).unwrap_err().reason, FaultReason::Frozen);
    assert_eq!(endpoint.freezes(), 1);
    endpoint.set_stopped(Stopped::IO);
    assert_eq!(space.read(START, &mut [0]), Ok(()));
    endpoint.set_stopped(Stopped::empty());
    assert_eq!(endpoint.faults().total(), 2);
}

#[test]
fn windows_come_and_go_and_a_closed_device_sees_none() {
    let machine = Machine::new();
    let table = machine.table(false, 12, 1024);
    table.map(START, machine.ram, 1, Prot::RW).unwrap();
    let endpoint = Endpoint::new(true, Arc::new(FaultLog::default()));
    let open = Arc::new(AtomicBool::new(true));
    let space = endpoint.space_for("device", Arc::clone(&open));
    endpoint.set_window(1, Arc::clone(&table)).unwrap();
    assert!(endpoint.set_window(1, Arc::clone(&table)).is_err());
    assert!(endpoint.set_window(2, table).is_err());
    assert_eq!(space.read(START, &mut [0]), Ok(()));
    open.store(false, Ordering::Release);
    assert_eq!(space.read(START, &mut [0]).unwrap_err().reason, FaultReason::NotAttached);
    assert_eq!(endpoint.stopped(), Stopped::empty());
    endpoint.unset_window(1);
    assert_eq!(machine.memory().real().pinned_objects(), 0, "the table went with its last holder");
}

#[test]
fn an_unmap_waits_for_devices_in_flight() {
    let machine = Machine::new();
    machine.register(0, RAM_PAGES);
    let table = machine.table(true, 12, 1024);
    let (_, space) = device(&[&table], false);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut byte = [0xff];
                if space.read(START, &mut byte).is_ok() {
                    assert!(byte == [0] || byte == [1], "{byte:?}");
                }
            }
        });
        for turn in 0..2000 {
            table.map(START, machine.ram + (turn % 2) * SMALL, 1, Prot::RW).unwrap();
            table.unmap(START, 1).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}
