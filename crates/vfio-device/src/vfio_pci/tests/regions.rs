use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::{open, open_edu, write_config};
use crate::EventFd;
use crate::mock::{fds, irq_set, rich_spec};
use crate::ops::{InfoCapability, RegionMapping, VfioDeviceOps, complete};
use crate::pci::{BarAddress, BarSpace, BarSpec, PciFunction, PciModel, ResetKind, RomSpec};
use crate::vfio_pci::{VfioPci, VfioPciOptions};

#[test]
fn regions_say_what_can_be_done_with_them() {
    let mut spec = rich_spec();
    spec.bars[3] = Some(BarSpec::model(0x100, BarSpace::Memory32));
    let (device, _) = open(spec);
    let bar = device.region_info(0).unwrap();
    assert_eq!((bar.flags, bar.size, bar.offset), (7, 0x4000, 0));
    assert_eq!(bar.capabilities, [InfoCapability::msix_mappable()]);
    let io = device.region_info(2).unwrap();
    assert_eq!((io.flags, io.size, io.offset), (3, 0x20, 2 << 40));
    assert_eq!(device.region_info(3).unwrap().flags, 7, "alone in its page");
    assert_eq!(device.region_info(7).unwrap().size, 0x1000);
    for absent in [1, 4, 5, 6] {
        assert_eq!(
            (device.region_info(absent).unwrap().flags, device.region_info(absent).unwrap().size),
            (0, 0)
        );
    }
    for index in [8, 9, u32::MAX] {
        assert_eq!(device.region_info(index), Err(Errno::EINVAL));
    }
}

#[test]
fn accesses_are_cut_into_natural_pieces_around_the_vector_table() {
    let (device, model) = open(rich_spec());
    let mut bytes = [0; 21];
    assert_eq!(device.read(0, 3, &mut bytes), Ok(21));
    let pieces: Vec<_> = model.reads.lock().drain(..).map(|(_, at, len)| (at, len)).collect();
    assert_eq!(pieces, [(3, 1), (4, 4), (8, 8), (16, 8)]);
    assert_eq!(bytes[..3], [3, 4, 5]);
    let mut around = [0; 0x90];
    assert_eq!(device.read(0, 0x1ff8, &mut around), Ok(0x90));
    let pieces: Vec<_> = model.reads.lock().drain(..).map(|(_, at, len)| (at, len)).collect();
    assert_eq!(pieces, [(0x1ff8, 8), (0x2080, 8)]);
    assert!(around[8..0x88].iter().all(|byte| *byte == 0xff));
    assert_eq!(device.write(0, 0x2000, &[0; 16]), Ok(16));
    assert!(model.writes.lock().is_empty());
    assert_eq!(device.read(0, 0x3fff, &mut bytes), Ok(1));
    assert_eq!(device.read(0, 0x4000, &mut bytes), Err(Errno::EINVAL));
    assert_eq!(device.read(1, 0, &mut bytes), Err(Errno::EINVAL));
}

#[test]
fn memory_bars_need_memory_decoding_and_ports_do_not() {
    let (device, _) = open(rich_spec());
    write_config(&device, 4, &[0]);
    let mut byte = [0];
    assert_eq!(device.read(0, 0, &mut byte), Err(Errno::EIO));
    assert_eq!(device.write(0, 0, &byte), Err(Errno::EIO));
    assert_eq!(device.read(2, 0, &mut byte), Ok(1));
    assert_eq!(byte, [0xff], "nobody answers");
}

#[test]
fn a_model_may_answer_later() {
    let (device, model) = open(rich_spec());
    *model.deferred.lock() = Some(Vec::new());
    let answer = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&answer);
    device.submit_read(0, 1, 10, complete(move |read| *kept.lock() = Some(read)));
    let mut rounds = 0;
    while answer.lock().is_none() {
        assert_eq!(model.answer_all(), 1, "one piece at a time");
        rounds += 1;
    }
    assert_eq!(rounds, 5);
    assert_eq!(answer.lock().take(), Some(Ok((1..=10).collect())));
}

#[test]
fn a_long_submitted_access_does_not_pile_up_calls() {
    let (device, _) = open_edu();
    let answer = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&answer);
    device.submit_read(0, 0, 2 << 20, complete(move |read| *kept.lock() = Some(read)));
    let read = answer.lock().take().unwrap().unwrap();
    assert_eq!(read.len(), 1 << 20);
    let kept = Arc::clone(&answer);
    device.submit_read(9, 0, 1, complete(move |read| *kept.lock() = Some(read)));
    assert_eq!(answer.lock().take(), Some(Err(Errno::EINVAL)));
    let written = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&written);
    device.submit_write(0, 4, vec![0; 1 << 19], complete(move |count| *kept.lock() = Some(count)));
    assert_eq!(written.lock().take(), Some(Ok(1 << 19)));
}

#[test]
fn mappings_reach_the_model_or_the_memory_itself() {
    let memory = Memory::anonymous(0x2000).unwrap();
    let mut spec = rich_spec();
    spec.bars[3] = Some(BarSpec::memory(memory.clone(), BarSpace::Memory32));
    let (device, _) = open(spec);
    let mapping = device.mmap(0, 0x1000, 0x1000).unwrap();
    let mut bytes = [0; 8];
    mapping.read(1, &mut bytes[..4]).unwrap();
    assert_eq!(bytes[..4], [1, 2, 3, 4]);
    assert_eq!(mapping.read(0xffd, &mut bytes[..4]), Err(Errno::EFAULT));
    assert_eq!(mapping.read(u64::MAX, &mut bytes[..4]), Err(Errno::EFAULT));
    write_config(&device, 4, &[0]);
    assert_eq!(mapping.read(0, &mut bytes[..4]), Err(Errno::EFAULT));
    write_config(&device, 4, &[2]);

    let mapping = device.mmap(3, 0x1000, 0x1000).unwrap();
    assert!(matches!(mapping, RegionMapping::Memory { .. }));
    mapping.write(4, &[9]).unwrap();
    assert_eq!(memory.load_u8(0x1004), Ok(9));
    let mut byte = [0];
    assert_eq!(device.read(3, 0x1004, &mut byte), Ok(1));
    assert_eq!(byte, [9]);

    for (region, offset, len) in [
        (0, 0, 0x5000),
        (0, 0x4000, 0x1000),
        (0, 8, 0x1000),
        (0, 0, 0),
        (2, 0, 0x1000),
        (7, 0, 0x1000),
        (0, u64::MAX, 2),
    ] {
        assert_eq!(device.mmap(region, offset, len).unwrap_err(), Errno::EINVAL);
    }
    let mapping = device.mmap(0, 0, 0x1000).unwrap();
    device.close_device();
    assert_eq!(mapping.read(0, &mut byte), Err(Errno::EFAULT));
}

#[test]
fn a_rom_is_read_in_words_and_ends_in_ones() {
    let mut spec = rich_spec();
    spec.rom = Some(RomSpec { size: 2048, image: vec![0x55, 0xaa, 1, 2, 3] });
    let (function, _) = crate::mock::function(spec);
    function.assign(&[crate::pci::BarAddress { bar: 6, address: 0xd000_0000 }], 10).unwrap();
    let device = VfioPci::new(function, VfioPciOptions::default());
    device.open_device(None).unwrap();
    assert_eq!((device.region_info(6).unwrap().flags, device.region_info(6).unwrap().size), (1, 2048));
    let mut bytes = [0; 8];
    assert_eq!(device.read(6, 0, &mut bytes), Ok(8));
    assert_eq!(bytes, [0x55, 0xaa, 1, 2, 3, 0xff, 0xff, 0xff]);
    assert_eq!(device.write(6, 0, &bytes), Err(Errno::EINVAL));
    assert_eq!(device.read(6, 2048, &mut bytes), Err(Errno::EINVAL));
    write_config(&device, 0x30, &[0xff; 4]);
    assert_eq!(super::config_u32(&device, 0x30), 0xffff_f801);
}

#[test]
fn vga_ranges_are_a_region_where_wanted() {
    let mut spec = rich_spec();
    spec.identity.class = 0x03_0000;
    let (function, _) = crate::mock::function(spec);
    let device = VfioPci::new(function, VfioPciOptions { vga: true, ..VfioPciOptions::default() });
    device.open_device(None).unwrap();
    assert_eq!(device.region_info(8).unwrap().size, 0xc0000);
    let mut bytes = [0; 4];
    assert_eq!(device.read(8, 0x3ba, &mut bytes), Ok(2));
    assert_eq!(device.read(8, 0xbfffe, &mut bytes), Ok(2));
    assert_eq!(device.write(8, 0x3c0, &bytes), Ok(4));
    assert_eq!(device.read(8, 0x3e0, &mut bytes), Err(Errno::EINVAL));
    assert_eq!(device.read(8, 0xc0000, &mut bytes), Err(Errno::EINVAL));
}

#[test]
fn a_closed_device_refuses_everything() {
    let (device, _) = open_edu();
    assert_eq!(device.open_device(None), Err(Errno::EBUSY));
    device.close_device();
    device.close_device();
    let mut byte = [0];
    assert_eq!(device.read(0, 0, &mut byte), Err(Errno::ENODEV));
    assert_eq!(device.region_info(0), Err(Errno::ENODEV));
    device.request(1);
    device.report_error();
}

#[test]
fn edu_moves_data_both_ways_and_waits_for_answers() {
    let (device, space) = open_edu();
    write_config(&device, 4, &[6]);
    space.0.lock()[0x100..0x104].copy_from_slice(b"data");
    let write = |offset: u64, value: u64| assert_eq!(device.write(0, offset, &value.to_le_bytes()), Ok(8));
    let dma = |source: u64, destination: u64, count: u64, command: u64| {
        write(0x80, source);
        write(0x88, destination);
        write(0x90, count);
        write(0x98, command);
    };
    dma(0x100, 0x40ffc, 4, 1);
    dma(0x40ffc, 0x8000_0200, 4, 3);
    assert_eq!(&space.0.lock()[0x200..0x204], b"data", "addresses are cut to 28 bits");
    for (own, count) in [(0x3ffff, 1), (0x41000, 1), (0x40000, 4097), (u64::MAX, 2), (0x40000, u64::MAX)] {
        dma(own, 0x300, count, 3);
    }
    assert!(space.0.lock()[0x300..].iter().all(|byte| *byte == 0));
    let mut command = [0; 8];
    device.read(0, 0x98, &mut command).unwrap();
    assert_eq!(u64::from_le_bytes(command), 2);
}

/// A model that uses its own device from every call.
struct Nosy {
    device: Arc<Mutex<Weak<VfioPci>>>,
    answers: Mutex<Vec<Result<usize, Errno>>>,
}

impl Nosy {
    fn ask(&self) {
        let Some(device) = self.device.lock().upgrade() else { return };
        let answer = device.read(7, 0, &mut [0; 4]);
        self.answers.lock().push(answer);
        let _ = device.set_irqs(&irq_set(0, 0x24, 0, 1, fds(&[&EventFd::in_process(0).unwrap()])));
        let _ = device.write(7, 0x3c, &[1]);
    }
}

impl PciModel for Nosy {
    fn bar_read(&self, _bar: u8, _offset: u64, _into: &mut [u8]) -> Result<(), Errno> {
        self.ask();
        Ok(())
    }

    fn bar_write(&self, _bar: u8, _offset: u64, _from: &[u8]) -> Result<(), Errno> {
        self.ask();
        Ok(())
    }

    fn config_written(&self, _offset: u16, _len: usize) {
        self.ask();
    }

    fn reset(&self, _kind: ResetKind) {
        self.ask();
    }
}

#[test]
fn a_model_may_use_its_device_from_any_call() {
    let link: Arc<Mutex<Weak<VfioPci>>> = Arc::default();
    let mut model = None;
    let function = PciFunction::new(rich_spec(), |_| {
        let nosy = Arc::new(Nosy { device: Arc::clone(&link), answers: Mutex::default() });
        model = Some(Arc::clone(&nosy));
        nosy
    })
    .unwrap();
    function.assign(&[BarAddress { bar: 0, address: 0xc000_0000 }], 1).unwrap();
    let device = Arc::new(VfioPci::new(function, VfioPciOptions::default()));
    *link.lock() = Arc::downgrade(&device);
    device.open_device(None).unwrap();
    let answers = std::mem::take(&mut *model.as_ref().unwrap().answers.lock());
    assert!(
        !answers.is_empty() && answers.iter().all(|answer| *answer == Err(Errno::ENODEV)),
        "not open yet"
    );
    let mut byte = [0];
    device.read(0, 0, &mut byte).unwrap();
    device.write(0, 0, &byte).unwrap();
    device.write(7, 4, &[2]).unwrap();
    device.reset().unwrap();
    device.close_device();
    let answers = std::mem::take(&mut *model.as_ref().unwrap().answers.lock());
    assert!(answers.contains(&Ok(4)));
}
