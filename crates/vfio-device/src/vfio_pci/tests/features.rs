use std::cell::RefCell;

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::{open, open_edu, write_config};
use crate::EventFd;
use crate::mock::{fds, irq_set, rich_spec};
use crate::ops::{FeatureAnswer, FeatureArgument, FeatureFlags, IoEventFd, IrqFd, VfioDeviceOps};
use crate::pci::{BarSpace, BarSpec, ExtendedCapability};
use crate::vfio_pci::VfioPci;

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

/// User memory behind a request; descriptor 5 is an eventfd.
struct Argument {
    bytes: RefCell<Vec<u8>>,
    event: EventFd,
}

impl Argument {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: RefCell::new(bytes.to_vec()), event: EventFd::in_process(0).unwrap() }
    }
}

impl FeatureArgument for Argument {
    fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Errno> {
        let bytes = self.bytes.borrow();
        into.copy_from_slice(bytes.get(offset..offset + into.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        let mut bytes = self.bytes.borrow_mut();
        bytes.get_mut(offset..offset + from.len()).ok_or(Errno::EFAULT)?.copy_from_slice(from);
        Ok(())
    }

    fn event_fd(&self, fd: i32) -> Result<EventFd, Errno> {
        if fd == 5 { Ok(self.event.clone()) } else { Err(Errno::EBADF) }
    }
}

fn feature(device: &VfioPci, flags: u32, bytes: &[u8]) -> Result<FeatureAnswer, Errno> {
    device.device_feature(FeatureFlags(flags), &Argument::new(bytes))
}

#[test]
fn probes_answer_before_sizes_are_looked_at() {
    let (device, _) = open_edu();
    for number in [3, 4, 5] {
        assert!(feature(&device, PROBE | number, &[]).is_ok());
        assert!(feature(&device, PROBE | SET | number, &[]).is_ok());
        assert_eq!(feature(&device, PROBE | GET | number, &[]).unwrap_err(), Errno::EINVAL);
        assert_eq!(feature(&device, number, &[0; 8]).unwrap_err(), Errno::EINVAL);
    }
    assert_eq!(feature(&device, SET | 4, &[0; 7]).unwrap_err(), Errno::EINVAL);
    assert_eq!(feature(&device, SET, &[0; 16]).unwrap_err(), Errno::ENOTTY);
    assert_eq!(feature(&device, PROBE | 10, &[]).unwrap_err(), Errno::ENOTTY);
}

#[test]
fn sleep_closes_bars_until_the_user_ends_it() {
    let (device, _) = open_edu();
    let mut byte = [0; 4];
    feature(&device, SET | 3, &[]).unwrap();
    assert_eq!(feature(&device, SET | 3, &[]).unwrap_err(), Errno::EINVAL);
    assert_eq!(device.read(0, 0, &mut byte), Err(Errno::EIO));
    assert_eq!(device.read(7, 0, &mut byte), Ok(4));
    feature(&device, SET | 5, &[]).unwrap();
    feature(&device, SET | 5, &[]).unwrap();
    assert_eq!(device.read(0, 0, &mut byte), Ok(4));
}

#[test]
fn a_wakeup_eventfd_ends_the_sleep_at_the_next_request() {
    let (device, _) = open_edu();
    let line = EventFd::in_process(0).unwrap();
    device.set_irqs(&irq_set(0, 0x24, 0, 1, fds(&[&line]))).unwrap();
    let argument = Argument::new(&[5, 0, 0, 0, 0, 0, 0, 0]);
    device.device_feature(FeatureFlags(SET | 4), &argument).unwrap();
    assert!(device.function().config_u16(4) & 0x400 != 0, "asleep, the line is masked");
    assert_eq!(argument.event.read(), None);
    let mut bytes = [0; 4];
    assert_eq!(device.read(0, 0, &mut bytes), Ok(4));
    assert_eq!(argument.event.read(), Some(1));
    assert!(device.function().config_u16(4) & 0x400 == 0);
    assert_eq!(feature(&device, SET | 4, &[0xff; 8]).unwrap_err(), Errno::EINVAL);
    assert_eq!(feature(&device, SET | 4, &[6, 0, 0, 0, 0, 0, 0, 0]).unwrap_err(), Errno::EBADF);
    feature(&device, SET | 3, &[]).unwrap();
}

#[test]
fn only_a_physical_function_has_a_token() {
    let mut spec = rich_spec();
    spec.extended_capabilities =
        vec![ExtendedCapability::serial_number(1), ExtendedCapability::raw(0x10, 1, &[0; 60])];
    let (device, _) = open(spec);
    assert_eq!(feature(&device, GET, &[7; 16]).unwrap_err(), Errno::EINVAL);
    feature(&device, SET, &[7; 16]).unwrap();
    assert!(device.accepts_vf_token(&[7; 16]) && !device.accepts_vf_token(&[0; 16]));
}

fn dma_buf_request(region: u32, flags: u32, ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in [region, 0, flags, ranges.len() as u32] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for (offset, len) in ranges {
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&len.to_le_bytes());
    }
    bytes
}

#[test]
fn parts_of_a_bar_are_shared_until_it_closes() {
    let memory = Memory::anonymous(0x4000).unwrap();
    let mut spec = rich_spec();
    spec.bars[3] = Some(BarSpec::memory(memory, BarSpace::Memory32));
    let (device, _) = open(spec);
    let share = |region, flags, ranges: &[(u64, u64)]| {
        feature(&device, GET | 11, &dma_buf_request(region, flags, ranges))
    };
    let Ok(FeatureAnswer::DmaBuf(shared)) = share(3, 0, &[(0x1000, 0x1000), (0, 0x1000)]) else {
        panic!("it is shared")
    };
    assert!(!shared.is_revoked() && shared.memory().is_some());
    assert_eq!(shared.ranges, [(0x1000, 0x1000), (0, 0x1000)]);
    write_config(&device, 4, &[0]);
    assert!(shared.is_revoked() && shared.memory().is_none());
    write_config(&device, 4, &[2]);
    assert!(!shared.is_revoked());
    for (region, flags, ranges, errno) in [
        (3, 0, &[][..], Errno::EINVAL),
        (3, 1, &[(0, 0x1000)], Errno::EINVAL),
        (6, 0, &[(0, 0x1000)], Errno::ENODEV),
        (3, 0, &[(0, 0)], Errno::EINVAL),
        (3, 0, &[(8, 0x1000)], Errno::EINVAL),
        (3, 0, &[(0x4000, 0x1000)], Errno::EINVAL),
        (3, 0, &[(u64::MAX - 0xfff, 0x1000)], Errno::EOVERFLOW),
        (2, 0, &[(0, 0x1000)], Errno::EINVAL),
        (1, 0, &[(0, 0x1000)], Errno::EINVAL),
    ] {
        assert_eq!(share(region, flags, ranges).unwrap_err(), errno);
    }
    let mut short = dma_buf_request(3, 0, &[(0, 0x1000)]);
    short.truncate(24);
    assert_eq!(feature(&device, GET | 11, &short).unwrap_err(), Errno::EFAULT);
    short[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(feature(&device, GET | 11, &short).unwrap_err(), Errno::ENOMEM);
    device.close_device();
    assert!(shared.is_revoked());
}

#[test]
fn an_eventfd_writes_to_a_register() {
    let (device, model) = open(rich_spec());
    let bell = EventFd::in_process(0).unwrap();
    let set =
        |flags: u32, offset: u64, fd: IrqFd| device.ioeventfd(&IoEventFd { flags, offset, data: 0x0102, fd });
    let event = || IrqFd::Fd(bell.clone());
    set(2, 0x10, event()).unwrap();
    bell.signal(3);
    assert_eq!(*model.writes.lock(), [(0, 0x10, vec![2, 1])], "however often it was signalled");
    assert_eq!(bell.read(), None);
    assert_eq!(set(2, 0x10, event()), Err(Errno::EEXIST));
    assert_eq!(set(2, 0x11, IrqFd::Unset), Err(Errno::ENODEV));
    assert_eq!(set(2, 0x11, IrqFd::Negative(-2)), Err(Errno::EINVAL));
    assert_eq!(set(2, 0x11, IrqFd::Bad(Errno::EBADF)), Err(Errno::EBADF));
    for (flags, offset) in [
        (0, 0),
        (3, 0),
        (16, 0),
        (8, 0x3ffc),
        (4, 0x1ffe),
        (4, 0x207c),
        (4, 6 << 40),
        (4, u64::MAX),
        (4, 1 << 40),
    ] {
        assert_eq!(set(flags, offset, event()), Err(Errno::EINVAL), "{flags} {offset:#x}");
    }
    write_config(&device, 4, &[0]);
    bell.signal(1);
    assert_eq!(model.writes.lock().len(), 1, "memory decoding is off");
    write_config(&device, 4, &[2]);
    set(2, 0x10, IrqFd::Unset).unwrap();
    bell.signal(1);
    assert_eq!((model.writes.lock().len(), bell.read()), (1, Some(1)));
    bell.signal(1);
    set(4, 0x20, event()).unwrap();
    assert_eq!(model.writes.lock().len(), 2, "signalled already");
    bell.hang_up();
    bell.signal(1);
    assert_eq!(model.writes.lock().len(), 2);
    assert_eq!(set(4, 0x20, event()), Err(Errno::EEXIST), "its place stays taken");
    device.close_device();
}

#[test]
fn a_reset_needs_a_method_and_is_announced() {
    let (device, model) = open(rich_spec());
    assert_eq!(device.info().flags, 3);
    device.reset().unwrap();
    assert_eq!(model.resets.lock().len(), 1);
    let (device, _) = open_edu();
    assert_eq!(device.info().flags, 2);
    assert_eq!(device.reset(), Err(Errno::EINVAL));
    device.close_device();
    device.function().set_bus_reset(true);
    device.open_device(None).unwrap();
    assert_eq!(device.info().flags, 3);
    device.reset().unwrap();
    crate::vfio_pci::hot_reset(&[&device]);
}
