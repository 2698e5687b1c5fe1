//! The domain against a plain model of it, step by step.

mod plain;
mod steps;

use proptest::prelude::*;

use super::*;
use plain::Plain;

/// The IOMMU of these tests: pages 1 to 28, of which page 10 is reserved.
fn iommu() -> HwIommu {
    let pages = |first: u64, last: u64| IovaRange::new(first * PAGE_SIZE, last * PAGE_SIZE + 0xfff).unwrap();
    let reserved = vec![ReservedRegion { range: pages(10, 10), kind: ReservedKind::Reserved }];
    HwIommu { aperture: pages(1, 28), reserved, ..HwIommu::x86() }
}

/// Unpins whatever it is asked to.
struct Obedient(Mutex<Option<std::sync::Weak<dyn DmaSpace>>>);

impl DmaUnmapListener for Obedient {
    fn dma_unmap(&self, range: IovaRange) {
        let space = self.0.lock().as_ref().and_then(std::sync::Weak::upgrade);
        for _ in 0..64 {
            space.iter().for_each(|space| space.unpin_pages(range.start(), range.size() / PAGE_SIZE));
        }
    }
}

/// The domain, with one device of each kind.
struct Real {
    machine: Machine,
    nic: Arc<dyn DmaSpace>,
    mdev: Arc<dyn DmaSpace>,
}

impl Real {
    fn new(v2: bool, entry_limit: u32, limits: Limits) -> Self {
        let (mm, ram) = process(limits);
        let machine = Machine { mm, ram, type1: Type1::new(v2, entry_limit) };
        let nic = machine.type1.space_for(DeviceId(2), "nic", DeviceKind::Hw);
        let mdev = machine.type1.space_for(MDEV, "mdev", DeviceKind::Emulated);
        machine.type1.register_listener(MDEV, Arc::new(Obedient(Mutex::new(Some(Arc::downgrade(&mdev))))));
        Self { machine, nic, mdev }
    }

    /// Reads the first byte of a page, which tells which page of the process it is.
    fn look(space: &Arc<dyn DmaSpace>, page: u64) -> Option<u8> {
        let mut byte = [0];
        space.read(page * PAGE_SIZE, &mut byte).ok().map(|()| byte[0])
    }
}

fn compare(real: &Real, plain: &Plain) -> Result<(), TestCaseError> {
    let type1 = &real.machine.type1;
    prop_assert_eq!(real.machine.locked(), plain.locked(), "locked memory");
    prop_assert_eq!(type1.mapping_count(), plain.maps.len());
    let info = type1.info();
    prop_assert_eq!(u64::from(info.dma_avail), plain.entries_left());
    prop_assert_eq!(info.iova_ranges.is_some(), plain.hw_ever);
    for page in 0..steps::PAGES {
        prop_assert_eq!(Real::look(&real.nic, page), plain.seen_by_hardware(page), "hardware at {}", page);
        prop_assert_eq!(Real::look(&real.mdev, page), plain.seen_by_driver(page), "driver at {}", page);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_domain_does_what_the_model_does(
        v2: bool,
        entry_limit in 1_u32..12,
        limit in prop_oneof![Just(None), (0_u64..24).prop_map(Some)],
        steps in prop::collection::vec(steps::step(), 1..60),
    ) {
        let limits = limit.map_or(UNLIMITED, pages);
        let real = Real::new(v2, entry_limit, limits);
        let mut plain = Plain::new(v2, entry_limit, limit);
        for step in steps {
            let (got, want) = (step.run(&real), step.predict(&mut plain));
            prop_assert_eq!(got, want, "{:?}", step);
            compare(&real, &plain)?;
        }
        let mm = Arc::clone(&real.machine.mm);
        real.machine.type1.close();
        prop_assert_eq!(mm.locked().locked_pages(), 0, "everything is given back");
    }
}
