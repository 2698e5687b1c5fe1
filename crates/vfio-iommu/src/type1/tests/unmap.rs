//! `UNMAP_DMA`.

use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const ALL: u32 = 2;
const VADDR: u32 = 4;

#[test]
fn version_2_takes_whole_mappings_only() {
    let machine = Machine::hw();
    machine.map(0x10000, 4, 0).unwrap();
    for (iova, pages) in [(0x10000, 1), (0x11000, 1), (0x13000, 1), (0xf000, 2), (0x13000, 4)] {
        assert_eq!(machine.unmap(iova, pages), Err(Errno::EINVAL));
    }
    machine.map(0x20000, 2, 0).unwrap();
    assert_eq!(machine.unmap(0xf000, 0x100), Ok(0x6000), "holes are no error");
    assert_eq!(machine.unmap(0xf000, 0x100), Ok(0));
}

#[test]
fn version_1_takes_what_begins_in_the_range_whole() {
    let machine = Machine::new(false, UNLIMITED);
    machine.type1.attach_hw(GROUP, &HwIommu::x86()).unwrap();
    machine.map(0x10000, 4, 0).unwrap();
    machine.map(0x20000, 1, 0).unwrap();
    assert_eq!(machine.unmap(0x11000, 0x100), Ok(0), "begins inside one: even those behind it stay");
    assert_eq!(machine.unmap(0xf000, 2), Ok(0x4000));
    assert_eq!(machine.unmap_flags(ALL, 0, 0), Ok(0x1000));
    assert_eq!(machine.locked(), 0);
}

#[test]
fn the_shape_of_a_request_is_checked() {
    let machine = Machine::hw();
    let unmap = |flags, iova, size| machine.type1.unmap_dma(&UnmapDma { flags, iova, size }, None);
    assert_eq!(unmap(8, 0, 0x1000), Err(Errno::EINVAL), "unknown flag");
    assert_eq!(unmap(3, 0, 0), Err(Errno::EINVAL), "a bitmap of everything");
    assert_eq!(unmap(1, 0, 0x1000), Err(Errno::EINVAL), "no bitmap given");
    assert_eq!(unmap(0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(unmap(0, 1, 0x1000), Err(Errno::EINVAL));
    assert_eq!(unmap(0, !0xfff, 0x2001), Err(Errno::EINVAL), "alignment before the wrap");
    assert_eq!(unmap(0, !0xfff, 0x2000), Err(Errno::EOVERFLOW));
    assert_eq!(unmap(0, !0xfff, 0x1000), Ok(0));
    assert_eq!(unmap(ALL, 0, 0x1000), Err(Errno::EINVAL));
}

#[test]
fn all_reaches_both_ends_of_the_space() {
    let machine = Machine::emulated();
    machine.map(0, 1, 0).unwrap();
    machine.map(!0xfff, 1, 0).unwrap();
    assert_eq!(machine.unmap_flags(ALL, 0, 0), Ok(0x2000));
}

#[test]
fn taking_addresses_away_is_all_or_nothing() {
    let machine = Machine::hw();
    machine.map(0x1000, 1, 0).unwrap();
    machine.map(0x2000, 1, 0).unwrap();
    machine.unmap_flags(VADDR, 0x2000, 1).unwrap();
    assert_eq!(machine.unmap_flags(VADDR | ALL, 0, 0), Err(Errno::EINVAL));
    assert_eq!(machine.unmap_flags(VADDR, 0x1000, 1), Ok(0x1000), "the first one kept its address");
    assert_eq!(machine.type1.attach_emulated(MDEV_GROUP), Err(Errno::EBUSY));
    assert_eq!(machine.unmap_flags(ALL, 0, 0), Ok(0x2000));
    assert_eq!(machine.type1.attach_emulated(MDEV_GROUP), Ok(()));
    assert_eq!(machine.unmap_flags(VADDR, 0, 1), Err(Errno::EBUSY), "drivers could not pin meanwhile");
}

/// Unpins from its callback, one page each time it is asked.
struct Reluctant {
    space: Mutex<Weak<dyn DmaSpace>>,
    pages: u64,
    asked: AtomicU32,
}

impl DmaUnmapListener for Reluctant {
    fn dma_unmap(&self, range: IovaRange) {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if u64::from(asked) < self.pages
            && let Some(space) = self.space.lock().upgrade()
        {
            space.unpin_pages(range.start() + u64::from(asked) * PAGE_SIZE, 1);
        }
    }
}

fn reluctant(machine: &Machine, pages: u64) -> (Arc<dyn DmaSpace>, Arc<Reluctant>) {
    let space = machine.type1.space_for(MDEV, "mdev", DeviceKind::Emulated);
    let weak = Mutex::new(Arc::downgrade(&space));
    let listener = Arc::new(Reluctant { space: weak, pages, asked: AtomicU32::new(0) });
    machine.type1.register_listener(MDEV, Arc::clone(&listener) as Arc<dyn DmaUnmapListener>);
    (space, listener)
}

#[test]
fn drivers_are_asked_again_until_they_let_go() {
    let machine = Machine::emulated();
    let (space, listener) = reluctant(&machine, 8);
    machine.map(0x10000, 8, 0).unwrap();
    space.pin_pages(0x10000, 8, Prot::RW).unwrap();
    assert_eq!(machine.unmap(0x10000, 8), Ok(0x8000));
    assert_eq!(listener.asked.load(Ordering::Relaxed), 8);
    assert_eq!(machine.locked(), 0);
}

#[test]
fn a_driver_that_never_lets_go_makes_the_unmap_fail() {
    let machine = Machine::emulated();
    let (space, listener) = reluctant(&machine, 0);
    machine.map(0x0, 1, 0).unwrap();
    machine.map(0x10000, 1, 0).unwrap();
    space.pin_pages(0x10000, 1, Prot::RW).unwrap();
    assert_eq!(machine.unmap_flags(ALL, 0, 0), Err(Errno::EBUSY));
    assert_eq!(listener.asked.load(Ordering::Relaxed), 11);
    assert_eq!(machine.type1.mapping_count(), 1, "what lies below is gone");
    machine.type1.close_device(MDEV);
    assert_eq!(machine.locked(), 0, "closing the device unpins");
    assert_eq!(machine.unmap_flags(ALL, 0, 0), Ok(0x1000));
}

#[test]
fn only_pinned_mappings_are_announced() {
    let machine = Machine::emulated();
    let heard = Arc::new(Heard::default());
    machine.type1.register_listener(MDEV, Arc::clone(&heard) as Arc<dyn DmaUnmapListener>);
    machine.map(0, 1, 0).unwrap();
    machine.unmap(0, 1).unwrap();
    assert!(heard.0.lock().is_empty());
}
