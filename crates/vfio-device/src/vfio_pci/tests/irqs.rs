use std::sync::Arc;

use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE,
};

use super::{open, open_edu, read_config, write_config};
use crate::EventFd;
use crate::mock::{fds, irq_set, rich_spec};
use crate::ops::{IrqData, IrqFd, VfioDeviceOps};
use crate::pci::{InterruptMode, PciFunction};
use crate::vfio_pci::VfioPci;

const INTX: u32 = 0;
const MSI: u32 = 1;
const MSIX: u32 = 2;
const ERR: u32 = 3;
const REQ: u32 = 4;
const TRIGGER_FD: u32 = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
const TRIGGER: u32 = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
const TRIGGER_BOOL: u32 = VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER;
const UNMASK: u32 = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
const UNMASK_FD: u32 = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
const MASK: u32 = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK;

fn event() -> EventFd {
    EventFd::in_process(0).unwrap()
}

fn enable(device: &VfioPci, index: u32, start: u32, events: &[&EventFd]) -> Result<(), Errno> {
    device.set_irqs(&irq_set(index, TRIGGER_FD, start, events.len() as u32, fds(events)))
}

fn act(device: &VfioPci, index: u32, flags: u32, start: u32, count: u32) -> Result<(), Errno> {
    device.set_irqs(&irq_set(index, flags, start, count, IrqData::None))
}

/// Has `edu` raise or acknowledge an interrupt.
fn edu(device: &VfioPci, register: u64, bits: u32) {
    assert_eq!(device.write(0, register, &bits.to_le_bytes()), Ok(4));
}

fn raise(device: &VfioPci) {
    edu(device, 0x60, 1);
}

fn acknowledge(device: &VfioPci) {
    edu(device, 0x64, 1);
}

fn holds_line(function: &Arc<PciFunction>) -> bool {
    function.config_u16(4) & 0x400 != 0
}

#[test]
fn the_line_masks_itself_until_it_is_unmasked() {
    let (device, _) = open_edu();
    let line = event();
    enable(&device, INTX, 0, &[&line]).unwrap();
    raise(&device);
    assert_eq!(line.read(), Some(1));
    assert!(holds_line(device.function()));
    assert_eq!(read_config(&device, 4, 2)[1] & 4, 0, "the user does not see the driver's bit");
    raise(&device);
    assert_eq!(line.read(), None);
    act(&device, INTX, UNMASK, 0, 1).unwrap();
    assert_eq!(line.read(), Some(1), "still pending: signalled again at once");
    acknowledge(&device);
    act(&device, INTX, UNMASK, 0, 1).unwrap();
    assert_eq!(line.read(), None);
    assert!(!holds_line(device.function()));
    raise(&device);
    assert_eq!(line.read(), Some(1));
}

#[test]
fn the_users_disable_bit_masks_and_silences_triggers_by_hand() {
    let (device, _) = open_edu();
    let line = event();
    enable(&device, INTX, 0, &[&line]).unwrap();
    write_config(&device, 5, &[4]);
    raise(&device);
    act(&device, INTX, TRIGGER, 0, 1).unwrap();
    act(&device, INTX, UNMASK, 0, 1).unwrap();
    assert_eq!(line.read(), None);
    write_config(&device, 5, &[0]);
    assert_eq!(line.read(), Some(1));
    act(&device, INTX, TRIGGER, 0, 0).unwrap();
    write_config(&device, 5, &[4]);
    assert!(holds_line(device.function()), "the hardware follows even when nothing delivers");
    enable(&device, INTX, 0, &[&line]).unwrap();
    assert_eq!(line.read(), None, "enabled masked");
}

#[test]
fn an_eventfd_unmasks_and_is_drained() {
    let (device, _) = open_edu();
    let (line, unmask) = (event(), event());
    enable(&device, INTX, 0, &[&line]).unwrap();
    let set = |data: IrqData| device.set_irqs(&irq_set(INTX, UNMASK_FD, 0, 1, data));
    set(fds(&[&unmask])).unwrap();
    assert_eq!(set(fds(&[&unmask])), Err(Errno::EBUSY));
    assert_eq!(set(IrqData::EventFds(vec![IrqFd::Bad(Errno::EBADF)])), Err(Errno::EBADF));
    raise(&device);
    assert_eq!(line.read(), Some(1));
    unmask.signal(1);
    assert_eq!((line.read(), unmask.read()), (Some(1), None));
    acknowledge(&device);
    unmask.signal(1);
    assert!(!holds_line(device.function()));
    set(IrqData::EventFds(vec![IrqFd::Unset])).unwrap();
    raise(&device);
    unmask.signal(1);
    assert_eq!((line.read(), unmask.read()), (Some(1), Some(1)), "nobody listens any more");
    unmask.signal(1);
    acknowledge(&device);
    set(fds(&[&unmask])).unwrap();
    assert!(!holds_line(device.function()), "one that is signalled already unmasks at once");
    unmask.hang_up();
    set(fds(&[&unmask])).unwrap();
}

#[test]
fn an_unmask_eventfd_may_be_the_trigger_of_a_handler_that_acknowledges() {
    let (device, _) = open_edu();
    let device = Arc::new(device);
    let (line, unmask) = (event(), event());
    enable(&device, INTX, 0, &[&line]).unwrap();
    device.set_irqs(&irq_set(INTX, UNMASK_FD, 0, 1, fds(&[&unmask]))).unwrap();
    let handled = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let _handler = {
        let (device, line2, handled) = (Arc::clone(&device), line.clone(), Arc::clone(&handled));
        line.subscribe(move |_| {
            if line2.read().is_some() {
                handled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                acknowledge(&device);
                unmask.signal(1);
            }
        })
    };
    for round in 1..=100 {
        raise(&device);
        assert_eq!(handled.load(std::sync::atomic::Ordering::SeqCst), round);
    }
}

#[test]
fn one_eventfd_may_be_trigger_and_unmask_at_once() {
    let (device, _) = open_edu();
    let both = event();
    enable(&device, INTX, 0, &[&both]).unwrap();
    device.set_irqs(&irq_set(INTX, UNMASK_FD, 0, 1, fds(&[&both]))).unwrap();
    raise(&device);
    acknowledge(&device);
    act(&device, INTX, TRIGGER, 0, 1).unwrap();
    assert!(!holds_line(device.function()));
}

#[test]
fn a_line_without_a_disable_bit_is_masked_at_the_controller() {
    let mut spec = rich_spec();
    spec.intx_disable = false;
    let (device, model) = open(spec);
    let line = event();
    enable(&device, INTX, 0, &[&line]).unwrap();
    let bus = model.bus();
    bus.intx(true);
    assert_eq!(line.read(), Some(1));
    act(&device, INTX, UNMASK, 0, 1).unwrap();
    assert_eq!(line.read(), Some(1), "it fires again");
    bus.intx(false);
    act(&device, INTX, UNMASK, 0, 1).unwrap();
    assert_eq!(line.read(), None);
    act(&device, INTX, MASK, 0, 1).unwrap();
    bus.intx(true);
    assert_eq!(line.read(), None);
}

#[test]
fn messages_reach_their_vectors_and_exclude_other_ways() {
    let (device, model) = open(rich_spec());
    let events: Vec<EventFd> = (0..4).map(|_| event()).collect();
    write_config(&device, 4, &[6]);
    enable(&device, MSIX, 1, &[&events[0], &events[1]]).unwrap();
    let bus = model.bus();
    assert_eq!(bus.interrupt_mode(), InterruptMode::Msix);
    for vector in [0, 1, 2, 7] {
        bus.msix(vector).unwrap();
    }
    assert_eq!((events[0].read(), events[1].read()), (Some(1), Some(1)));
    enable(&device, MSIX, 7, &[&events[3]]).unwrap();
    assert_eq!(events[3].read(), Some(1), "a vector without an eventfd is masked, and waits");
    for (index, errno) in [(INTX, Errno::EINVAL), (MSI, Errno::EINVAL)] {
        assert_eq!(enable(&device, index, 0, &[&events[2]]), Err(errno));
        assert_eq!(act(&device, index, TRIGGER, 0, 0), Err(Errno::EINVAL));
    }
    assert_eq!(act(&device, MSIX, MASK, 0, 1), Err(Errno::ENOTTY));
    device.set_irqs(&irq_set(MSIX, TRIGGER_BOOL, 1, 2, IrqData::Bool(vec![0, 1]))).unwrap();
    assert_eq!((events[0].read(), events[1].read()), (None, Some(1)));
    act(&device, MSIX, TRIGGER, 0, 0).unwrap();
    assert_eq!(bus.interrupt_mode(), InterruptMode::Line);
    enable(&device, INTX, 0, &[&events[0]]).unwrap();
    bus.intx(true);
    assert_eq!(events[0].read(), Some(1));
}

#[test]
fn a_block_that_fails_unsets_its_vectors() {
    let (device, _) = open(rich_spec());
    let (kept, first) = (event(), event());
    let block = |bad: IrqFd| IrqData::EventFds(vec![IrqFd::Fd(first.clone()), bad]);
    let fail = device.set_irqs(&irq_set(MSIX, TRIGGER_FD, 0, 2, block(IrqFd::Bad(Errno::EBADF))));
    assert_eq!(fail, Err(Errno::EBADF));
    assert_eq!(act(&device, MSIX, TRIGGER, 0, 1), Err(Errno::EINVAL), "the first block enabled nothing");
    enable(&device, MSIX, 0, &[&kept, &kept, &kept]).unwrap();
    let fail = device.set_irqs(&irq_set(MSIX, TRIGGER_FD, 1, 2, block(IrqFd::Bad(Errno::EINVAL))));
    assert_eq!(fail, Err(Errno::EINVAL));
    act(&device, MSIX, TRIGGER, 0, 3).unwrap();
    assert_eq!((kept.read(), first.read()), (Some(1), None), "only vector 0 is left");
    let unset = IrqData::EventFds(vec![IrqFd::Negative(-2)]);
    device.set_irqs(&irq_set(MSIX, TRIGGER_FD, 0, 1, unset)).unwrap();
    act(&device, MSIX, TRIGGER, 0, 1).unwrap();
    assert_eq!(kept.read(), None);
}

#[test]
fn msi_cannot_grow_and_its_queue_follows_what_was_enabled() {
    let (device, _) = open(rich_spec());
    let one = event();
    write_config(&device, 0x6a, &[0xff]);
    assert_eq!(read_config(&device, 0x6a, 1), [0x8e], "neither enabled nor granted");
    assert_eq!(act(&device, MSI, TRIGGER_FD, 0, 0), Err(Errno::EINVAL), "no payload");
    let none = device.set_irqs(&irq_set(MSI, TRIGGER_FD, 0, 0, IrqData::EventFds(Vec::new())));
    assert_eq!(none, Err(Errno::ERANGE));
    enable(&device, MSI, 0, &[&one, &one]).unwrap();
    assert_eq!(enable(&device, MSI, 1, &[&one, &one]), Err(Errno::EINVAL));
    act(&device, MSI, TRIGGER, 0, 4).unwrap();
    assert_eq!(one.read(), Some(1), "vector 1 was unset by the failure");
    write_config(&device, 0x6a, &[0xff]);
    assert_eq!(read_config(&device, 0x6a, 1), [0x9f]);
    assert_eq!(device.function().config_u16(0x6a) & 0x71, 0x11);
    act(&device, MSI, TRIGGER, 0, 0).unwrap();
    write_config(&device, 0x6a, &[0x01]);
    assert_eq!(device.function().config_u16(0x6a) & 1, 0);
}

#[test]
fn errors_and_requests_are_signalled_one_by_one() {
    let (device, _) = open_edu();
    for (index, signal) in [
        (ERR, (&|device: &VfioPci| device.report_error()) as &dyn Fn(&VfioPci)),
        (REQ, &|device: &VfioPci| device.request(3)),
    ] {
        let one = event();
        assert_eq!(act(&device, index, TRIGGER, 0, 1), Err(Errno::EINVAL));
        assert_eq!(device.irq_info(index).unwrap().flags, 9);
        enable(&device, index, 0, &[&one]).unwrap();
        signal(&device);
        act(&device, index, TRIGGER, 0, 1).unwrap();
        assert_eq!(one.read(), Some(2));
        let bad = IrqData::EventFds(vec![IrqFd::Negative(-2)]);
        assert_eq!(device.set_irqs(&irq_set(index, TRIGGER_FD, 0, 1, bad)), Err(Errno::EINVAL));
        let bad = IrqData::EventFds(vec![IrqFd::Bad(Errno::EBADF)]);
        assert_eq!(device.set_irqs(&irq_set(index, TRIGGER_FD, 0, 1, bad)), Err(Errno::EBADF));
        signal(&device);
        assert_eq!(one.read(), Some(1), "the old one stays");
        act(&device, index, TRIGGER, 0, 0).unwrap();
        signal(&device);
        assert_eq!(one.read(), None);
        assert_eq!(act(&device, index, MASK, 0, 1), Err(Errno::ENOTTY));
    }
}

#[test]
fn a_payload_that_was_not_announced_is_refused() {
    let (device, _) = open_edu();
    let one = event();
    let mut request = irq_set(INTX, TRIGGER_FD, 0, 1, fds(&[&one]));
    request.data = IrqData::EventFds(Vec::new());
    assert_eq!(device.set_irqs(&request), Err(Errno::EINVAL));
    request.data = IrqData::Bool(vec![1]);
    assert_eq!(device.set_irqs(&request), Err(Errno::EINVAL));
}

#[test]
fn closing_ends_interrupts_and_dma() {
    let (device, _) = open_edu();
    let (line, request) = (event(), event());
    enable(&device, INTX, 0, &[&line]).unwrap();
    enable(&device, REQ, 0, &[&request]).unwrap();
    write_config(&device, 4, &[7]);
    let function = Arc::clone(device.function());
    device.close_device();
    function.bar_write(0, 0x60, &1u32.to_le_bytes()).unwrap();
    device.request(1);
    assert_eq!((line.read(), request.read()), (None, None));
    assert!(!function.dma().is_master() && !function.dma().is_attached());
    device.open_device(None).unwrap();
    assert_eq!(act(&device, INTX, UNMASK, 0, 1), Err(Errno::EINVAL));
}
