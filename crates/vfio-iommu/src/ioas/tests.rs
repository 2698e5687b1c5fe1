//! Behaviour of address spaces.

use std::sync::Arc;

use vfio_memory::{AddressSpace, Limits, Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::{
    Accounting, DevicePort, DomainKind, Ioas, IoasAccess, MapMemory, MapSource, PagingDomain, Payer, Place,
};
use crate::{DmaSpace, IovaRange};

const SIZE: u64 = 16 * PAGE_SIZE;

/// A process with some memory, which may pin `memlock` bytes.
fn process(memlock: u64) -> (Arc<AddressSpace>, u64) {
    let mm = AddressSpace::new(Limits { memlock, cap_ipc_lock: false });
    let memory = Memory::anonymous(SIZE).expect("memory");
    let address = mm.map(None, 0, SIZE, memory, 0, Prot::RW).expect("an address");
    (mm, address)
}

fn map(ioas: &Ioas, mm: &Arc<AddressSpace>, address: u64, length: u64, place: Place) -> Result<u64, Errno> {
    ioas.map(MapMemory {
        source: MapSource::User(Arc::clone(mm), address),
        length,
        place,
        prot: Prot::RW,
        payer: Payer::new(mm, Accounting::User),
    })
}

fn domain() -> Arc<PagingDomain> {
    let aperture = IovaRange::sized(0, 1 << 48).expect("48 bits");
    PagingDomain::new(DomainKind::Table, 1 << 12 | 1 << 21, aperture, true)
}

#[test]
fn chooses_the_lowest_hole_that_keeps_the_alignment() {
    let ioas = Ioas::new();
    let (mm, address) = process(0);
    assert_eq!(map(&ioas, &mm, address, PAGE_SIZE, Place::Any), Ok(0x1000));
    assert_eq!(map(&ioas, &mm, address + 0x1000, PAGE_SIZE, Place::Any), Ok(0x2000));
    ioas.unmap(0x1000, PAGE_SIZE).expect("it is mapped");
    assert_eq!(map(&ioas, &mm, address + 0x3000, PAGE_SIZE, Place::Any), Ok(0x1000));
}

#[test]
fn pins_shared_pages_once() {
    let (first, second) = (Ioas::new(), Ioas::new());
    let (mm, address) = process(4 * PAGE_SIZE);
    first.add_domain(&domain()).expect("an empty space");
    second.add_domain(&domain()).expect("an empty space");
    map(&first, &mm, address, 4 * PAGE_SIZE, Place::Fixed(0x10000)).expect("within the limit");
    second
        .copy_from(&first, 0x10000, 4 * PAGE_SIZE, Place::Fixed(0x80000), Prot::READ)
        .expect("it is pinned");
    assert_eq!(mm.locked().pinned_pages(), 4);
    assert_eq!(map(&first, &mm, address, PAGE_SIZE, Place::Any), Err(Errno::ENOMEM));
    first.unmap_all().expect("nobody holds it");
    assert_eq!(mm.locked().pinned_pages(), 4);
    second.unmap_all().expect("nobody holds it");
    assert_eq!(mm.locked().pinned_pages(), 0);
}

#[test]
fn stops_at_an_area_that_the_range_cuts() {
    let ioas = Ioas::new();
    let (mm, address) = process(0);
    map(&ioas, &mm, address, PAGE_SIZE, Place::Fixed(0x1000)).expect("free");
    map(&ioas, &mm, address, 2 * PAGE_SIZE, Place::Fixed(0x2000)).expect("free");
    assert_eq!(ioas.unmap(0x1000, 2 * PAGE_SIZE), Err((Errno::ENOENT, PAGE_SIZE)));
    assert_eq!(ioas.area_count(), 1);
}

#[test]
fn refuses_a_domain_that_cannot_show_what_is_mapped() {
    let ioas = Ioas::new();
    let (mm, address) = process(0);
    map(&ioas, &mm, address, 0x800, Place::Fixed(0x1800)).expect("any alignment");
    assert_eq!(ioas.add_domain(&domain()), Err(Errno::EADDRINUSE));
    ioas.unmap_all().expect("nobody holds it");
    map(&ioas, &mm, address, PAGE_SIZE, Place::Fixed(1 << 50)).expect("nothing restricts it");
    assert_eq!(ioas.add_domain(&domain()), Err(Errno::EADDRINUSE));
    assert_eq!(ioas.iova_ranges(), (vec![IovaRange::ALL], 1));
}

#[test]
fn leads_devices_to_memory_until_it_is_unmapped() {
    let ioas = Ioas::new();
    let (mm, address) = process(SIZE);
    let domain = domain();
    ioas.add_domain(&domain).expect("an empty space");
    let port = DevicePort::new("device", Arc::default());
    port.attach_domain(None, &domain, &ioas, super::Reporting::default());
    map(&ioas, &mm, address, SIZE, Place::Fixed(0x10000)).expect("free");
    ioas.set_dirty_tracking(&domain, true).expect("it can tell");
    port.write(0x13000, &[7; 16]).expect("it is mapped");
    let mut seen = [0; 16];
    mm.read(address + 0x3000, &mut seen).expect("it is there");
    assert_eq!(seen, [7; 16]);
    let mut bitmap = [0_u8; 8];
    let mut target: &mut [u8] = &mut bitmap;
    let request = super::DirtyRequest {
        iova: 0x10000,
        length: SIZE,
        page_size: PAGE_SIZE,
        clear: true,
        target: &mut target,
    };
    ioas.dirty_bitmap(&domain, request).expect("it is tracked");
    assert_eq!(bitmap[0], 1 << 3);
    ioas.unmap_all().expect("nobody holds it");
    assert!(port.read(0x13000, &mut seen).is_err());
}

#[test]
fn an_access_pins_what_it_asks_for() {
    let ioas = Ioas::new();
    let (mm, address) = process(2 * PAGE_SIZE);
    let access = IoasAccess::new(true, None);
    access.attach(Some(&ioas)).expect("an empty space");
    map(&ioas, &mm, address, SIZE, Place::Fixed(0x10000)).expect("nothing is looked at");
    access.pin(0x11000, 2 * PAGE_SIZE, true).expect("within the limit");
    assert_eq!(access.pin(0x13000, PAGE_SIZE, false).map(|_| ()), Err(Errno::ENOMEM));
    assert_eq!(mm.locked().pinned_pages(), 2);
    assert_eq!(ioas.unmap_all(), Err((Errno::EDEADLK, 0)));
    access.unpin(0x11000, PAGE_SIZE);
    access.attach(None).expect("it is attached");
    assert_eq!(mm.locked().pinned_pages(), 0);
    assert_eq!(ioas.unmap_all(), Ok(SIZE));
}
