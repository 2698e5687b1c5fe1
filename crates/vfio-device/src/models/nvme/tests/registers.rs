use super::driver::{CC_ENABLE, Driver, Order, config};
use crate::models::nvme::{Nvme, NvmeConfig};
use crate::pci::registers::{CAP_ID_EXPRESS, CAP_ID_MSIX, CAP_ID_PM};
use crate::pci::{ResetKind, ResetMethod};
use vfio_memory::Memory;
use vfio_uapi::Errno;

#[test]
fn shows_itself_as_the_recorded_function() {
    let driver = Driver::new(config());
    let function = &driver.function;
    assert_eq!(function.config_u32(0x00), 0x0010_1b36);
    assert_eq!(function.config_u32(0x08), 0x0108_0202);
    assert_eq!(function.config_u32(0x2c), 0x1100_1af4);
    let chain = [(0x34, 0x40), (0x41, 0x80), (0x81, 0x60), (0x61, 0)];
    assert!(chain.into_iter().all(|(at, next)| function.config_u8(at) == next));
    let ids = [0x40, 0x80, 0x60].map(|at| function.config_u8(at));
    assert_eq!(ids, [CAP_ID_MSIX, CAP_ID_EXPRESS, CAP_ID_PM]);
    assert_eq!([0x40, 0x44, 0x48].map(|at| function.config_u32(at)), [0x0040_8011, 0x2000, 0x3000]);
    assert_eq!([0x60, 0x64].map(|at| function.config_u32(at)), [0x0003_0001, 0x8]);
    assert_eq!([0x80, 0x84].map(|at| function.config_u32(at)), [0x0002_6010, 0x1000_8020]);
    assert_eq!(function.reset_method(), Some(ResetMethod::Express));
}

#[test]
fn shows_the_recorded_capabilities() {
    let driver = Driver::new(config());
    let mut wide = [0; 8];
    driver.function.bar_read(0, 0, &mut wide).expect("registers answer");
    assert_eq!(u64::from_le_bytes(wide), 0x0040_0820_0f01_07ff);
    assert_eq!((driver.read32(8), driver.read32(0x1c), driver.read32(0xffc)), (0x1_0400, 0, 0));
}

#[test]
fn refuses_descriptions_that_make_no_sense() {
    let spoilt = |spoil: &dyn Fn(&mut NvmeConfig)| {
        let mut config = config();
        spoil(&mut config);
        Nvme::function(config).err()
    };
    assert_eq!(spoilt(&|_| {}), None);
    assert_eq!(spoilt(&|config| config.serial = "x".repeat(21)), Some(Errno::EINVAL));
    assert_eq!(spoilt(&|config| config.model = "caf\u{e9}".to_owned()), Some(Errno::EINVAL));
    assert_eq!(spoilt(&|config| config.block_size = 1024), Some(Errno::EINVAL));
    assert_eq!(spoilt(&|config| config.queue_pairs = 0), Some(Errno::EINVAL));
    assert_eq!(spoilt(&|config| config.queue_pairs = 65), Some(Errno::EINVAL));
}

#[test]
fn becomes_ready_and_stops() {
    let mut driver = Driver::new(config());
    driver.enable(8);
    assert_eq!(driver.status(), 1);
    driver.write32(0x14, CC_ENABLE & !1);
    assert_eq!(driver.status(), 0);
    assert_ne!(driver.read32(0x24), 0);
    driver.function.reset(ResetKind::Function);
    driver.function.config_write(4, &6u16.to_le_bytes());
    assert_eq!((driver.read32(0x14), driver.read32(0x24), driver.read32(0x28)), (0, 0, 0));
}

#[test]
fn fails_to_start_with_what_it_does_not_have() {
    for (aqa, asq, acq, cc) in [
        (0, 0x10_0000, 0x10_1000, CC_ENABLE),
        (0x0007_0007, 0x10_0000, 0x10_1000, CC_ENABLE | 5 << 7),
        (0x0007_0007, 0x10_1000, 0x10_2000, CC_ENABLE | 1 << 7),
        (0x0007_0007, 0x10_0000, 0x10_1000, CC_ENABLE | 7 << 4),
        (0x0007_0007, 0x10_0000, 0x10_1000, CC_ENABLE | 1 << 11),
        (0x0fff_0fff, !0xfff, 0x10_1000, CC_ENABLE),
    ] {
        let driver = Driver::new(config());
        driver.write32(0x24, aqa);
        driver.write64(0x28, asq);
        driver.write64(0x30, acq);
        driver.write32(0x14, cc);
        assert_eq!(driver.status(), 2);
        driver.write32(0x14, 0);
        assert_eq!(driver.status(), 0);
    }
}

#[test]
fn shuts_down() {
    let mut driver = Driver::new(config());
    driver.enable(8);
    driver.write32(0x14, CC_ENABLE | 1 << 14);
    driver.until("the shutdown", |driver| driver.status() & 0xc == 8);
    driver.write32(0x14, 0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn brings_files_up_to_date_without_the_caller_waiting() {
    let media = Memory::memfd("blocks", 1 << 20).expect("there is memory");
    let mut driver = Driver::new(NvmeConfig::with_media("nvme", media));
    let mut admin = driver.enable(8);
    let mut pair = driver.create(&mut admin, 1, 8, None);
    let answer = driver.order(&mut pair, Order::new(0).namespace(1));
    assert_eq!(answer.status, 0);
    driver.write32(0x14, CC_ENABLE | 2 << 14);
    driver.until("the shutdown", |driver| driver.status() & 0xc == 8);
}

#[test]
fn a_queue_in_memory_that_refuses_access_ends_the_work() {
    let driver = Driver::new(config());
    driver.write32(0x24, 0x0007_0007);
    driver.write64(0x28, 0x1000);
    driver.write64(0x30, 0x2000);
    driver.write32(0x14, CC_ENABLE);
    assert_eq!(driver.status(), 1);
    driver.write32(0x1000, 1);
    assert_eq!(driver.status(), 3);
    driver.write32(0x14, 0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn accesses_of_other_sizes_change_nothing() {
    let driver = Driver::new(config());
    for bytes in [&[0xff][..], &[0xff; 2], &[0xff; 3]] {
        driver.function.bar_write(0, 0x24, bytes).expect("registers take everything");
    }
    driver.function.bar_write(0, 0x25, &[0xff; 4]).expect("registers take everything");
    assert_eq!(driver.read32(0x24), 0);
    let mut byte = [0];
    driver.function.bar_read(0, 0x0a, &mut byte).expect("registers answer");
    assert_eq!(byte, [1]);
}
