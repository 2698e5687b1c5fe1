//! Random interrupt requests, device activity and configuration writes: nothing panics, and what must hold does.

use proptest::prelude::*;
use vfio_uapi::Errno;

use super::open;
use crate::EventFd;
use crate::mock::{MockModel, rich_spec};
use crate::ops::{IrqData, IrqFd, IrqHeader, IrqPayload, IrqSet, VfioDeviceOps};
use crate::pci::InterruptMode;
use crate::vfio_pci::VfioPci;

#[derive(Debug, Clone)]
enum Step {
    Set { flags: u32, index: u32, start: u32, count: u32, entries: Vec<i8> },
    Line(bool),
    Msi(u32),
    Msix(u32),
    Command(u16),
    MsiControl(u8),
    Power(u8),
    Reset,
    Sleep(bool),
    Event(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let data = prop_oneof![4 => Just(1u32), 4 => Just(2), 6 => Just(4), 1 => 0u32..8];
    let action =
        prop_oneof![2 => Just(8u32), 3 => Just(0x10), 6 => Just(0x20), 1 => (0u32..8).prop_map(|a| a << 3)];
    let set = (data, action, 0u32..6, 0u32..9, 0u32..10, prop::collection::vec(-3i8..5, 10)).prop_map(
        |(data, action, index, start, count, entries)| {
            // The line and the driver's own interrupts have one interrupt each: aim at it more often than not.
            let (start, count) =
                if index == 0 || index > 2 { (start / 6, count.div_ceil(8)) } else { (start, count) };
            Step::Set { flags: data | action, index, start, count, entries }
        },
    );
    prop_oneof![
        10 => set,
        3 => any::<bool>().prop_map(Step::Line),
        2 => (0u32..6).prop_map(Step::Msi),
        2 => (0u32..10).prop_map(Step::Msix),
        2 => any::<u16>().prop_map(Step::Command),
        1 => any::<u8>().prop_map(Step::MsiControl),
        1 => (0u8..4).prop_map(Step::Power),
        1 => Just(Step::Reset),
        1 => any::<bool>().prop_map(Step::Sleep),
        2 => (0usize..4).prop_map(Step::Event),
        1 => Just(Step::Reopen),
    ]
}

fn set(device: &VfioPci, events: &[EventFd], step: &Step) -> Result<(), Errno> {
    let Step::Set { flags, index, start, count, entries } = step else { return Ok(()) };
    let header =
        IrqHeader { argsz: 20 + 4 * count, flags: *flags, index: *index, start: *start, count: *count };
    let entry = |at: usize| match entries[at] {
        -1 => IrqFd::Unset,
        -3..0 => IrqFd::Negative(-2),
        4.. => IrqFd::Bad(Errno::EBADF),
        event => IrqFd::Fd(events[event as usize].clone()),
    };
    let data = match device.irq_payload(&header)? {
        IrqPayload::None => IrqData::None,
        IrqPayload::Bool(count) => {
            IrqData::Bool((0..count as usize).map(|at| entries[at] as u8 & 1).collect())
        }
        IrqPayload::EventFds(count) => IrqData::EventFds((0..count as usize).map(entry).collect()),
    };
    device.set_irqs(&IrqSet { header, data })
}

fn run(device: &VfioPci, model: &MockModel, events: &[EventFd], step: &Step) {
    let config = |at: u64, bytes: &[u8]| {
        let _ = device.write(7, at, bytes);
    };
    match step {
        Step::Set { .. } => drop(set(device, events, step)),
        Step::Line(level) => model.bus().intx(*level),
        Step::Msi(vector) => drop(model.bus().msi(*vector)),
        Step::Msix(vector) => drop(model.bus().msix(*vector)),
        Step::Command(bits) => config(4, &bits.to_le_bytes()),
        Step::MsiControl(bits) => config(0x6a, &[*bits]),
        Step::Power(state) => config(0x64, &[*state]),
        Step::Reset => drop(device.reset()),
        Step::Sleep(sleep) => {
            let session = device.session().expect("it is open");
            if *sleep {
                let _ = session.enter_low_power(Some(events[0].clone()));
            } else {
                session.end_low_power();
            }
        }
        Step::Event(event) => events[*event].signal(1),
        Step::Reopen => {
            device.close_device();
            assert_eq!(device.function().interrupts().mode, InterruptMode::Line, "closing disables messages");
            device.open_device(None).expect("it is closed");
        }
    }
}

proptest! {
    #[test]
    fn requests_in_any_order_keep_the_ways_apart(steps in prop::collection::vec(step(), 1..80)) {
        let (device, model) = open(rich_spec());
        let events: Vec<EventFd> = (0..4).map(|_| EventFd::in_process(0).unwrap()).collect();
        for step in &steps {
            run(&device, &model, &events, step);
            // Asking for the end of each way tells which one delivers: exactly one accepts, or none.
            let mode = device.function().interrupts().mode;
            let session = device.session().unwrap();
            let mut irqs = session.irqs.lock();
            let (line, msi, msix) =
                (irqs.line().is_some(), irqs.messages(false).is_some(), irqs.messages(true).is_some());
            drop(irqs);
            prop_assert!(u8::from(line) + u8::from(msi) + u8::from(msix) <= 1);
            prop_assert!(mode != InterruptMode::Msix || msix);
            prop_assert!(mode != InterruptMode::Msi || msi);
        }
        device.close_device();
        model.bus().intx(true);
        events.iter().for_each(|event| {
            let _ = event.read();
        });
        for vector in 0..8 {
            let _ = model.bus().msi(vector);
            let _ = model.bus().msix(vector);
        }
        device.request(0);
        prop_assert!(events.iter().all(|event| !event.is_readable()), "a closed device signals nobody");
    }
}

#[test]
fn threads_that_interrupt_configure_and_wake_do_not_wait_for_each_other() {
    let (device, model) = open(rich_spec());
    let events: Vec<EventFd> = (0..4).map(|_| EventFd::in_process(0).unwrap()).collect();
    let steps = |seed: u32| {
        (0..3000u32).map(move |at| {
            let mixed = (at ^ seed).wrapping_mul(0x9e37_79b9) >> 16;
            let entries = (0..10).map(|entry| (mixed >> entry & 3) as i8).collect();
            match mixed % 8 {
                0 => Step::Line(mixed & 16 != 0),
                1 => Step::Msix(mixed >> 4 & 7),
                2 => Step::Command(mixed as u16),
                3 => Step::Event((mixed >> 4 & 3) as usize),
                4 => Step::Set { flags: 0x14, index: 0, start: 0, count: 1, entries },
                5 => {
                    Step::Set { flags: 0x21, index: mixed >> 4 & 3, start: 0, count: mixed >> 6 & 1, entries }
                }
                6 => Step::Sleep(mixed & 16 != 0),
                _ => Step::Set { flags: 0x24, index: (mixed >> 4 & 1) * 2, start: 0, count: 1, entries },
            }
        })
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (device, model, events) = (&device, &model, &events);
            scope.spawn(move || steps(seed * 7919).for_each(|step| run(device, model, events, &step)));
        }
    });
    device.close_device();
    assert_eq!(device.function().interrupts().mode, InterruptMode::Line);
}
