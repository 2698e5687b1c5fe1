//! Tests of the address space and the locked-memory account.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::memory::Buffer;
use crate::{AddressSpace, Limits, LockedMemory, Memory, PAGE_SIZE, Prot, TASK_SIZE};

fn space() -> Arc<AddressSpace> {
    AddressSpace::new(Limits { memlock: 16 * PAGE_SIZE, cap_ipc_lock: false })
}

fn pages(count: u64) -> Memory {
    Memory::anonymous(count * PAGE_SIZE).unwrap()
}

#[test]
fn places_areas_upward_apart_and_aligned() {
    let space = space();
    let map = |hint, align, count| space.map(hint, align, count * PAGE_SIZE, pages(count), 0, Prot::RW);
    let first = map(None, 0, 3).unwrap();
    assert_eq!(first, 0x7f00_0000_0000);
    let second = map(None, 1 << 21, 1).unwrap();
    assert_eq!(second, 0x7f00_0020_0000);
    let third = map(None, 0, 1).unwrap();
    assert_eq!(third, second + 2 * PAGE_SIZE, "a hole of a page between areas");
    assert_eq!(map(Some(0x10_0000), 0, 2), Ok(0x10_0000));
    assert_ne!(map(Some(0x10_1000), 0, 2), Ok(0x10_1000), "the hint is taken");
    assert_ne!(map(Some(0x20_0123), 0, 2), Ok(0x20_0123), "the hint is not aligned");
    assert_ne!(map(Some(TASK_SIZE), 0, 1), Ok(TASK_SIZE));
    space.unmap(first, 3 * PAGE_SIZE).unwrap();
    assert!(map(None, 0, 3).unwrap() > third, "an address given up is not taken again soon");
    assert_eq!(map(Some(first), 0, 3), Ok(first));
}

#[test]
fn map_refuses_what_is_wrong_with_the_request() {
    let space = space();
    let memory = pages(2);
    let map = |align, len, offset| space.map(None, align, len, memory.clone(), offset, Prot::RW);
    assert_eq!(map(0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(map(3 * PAGE_SIZE, PAGE_SIZE, 0), Err(Errno::EINVAL));
    assert_eq!(map(0, 3 * PAGE_SIZE, 0), Err(Errno::EINVAL));
    assert_eq!(map(0, PAGE_SIZE, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(map(1 << 63, PAGE_SIZE, 0), Err(Errno::ENOMEM));
    assert!(space.areas().is_empty());
    assert_eq!(memory.handles(), 1);
}

#[test]
fn copies_stop_at_the_first_bad_byte() {
    let space = space();
    let at = space.map(Some(0x10_0000), 0, 2 * PAGE_SIZE, pages(2), 0, Prot::RW).unwrap();
    space.write(at + 2 * PAGE_SIZE - 4, b"tail").unwrap();
    assert_eq!(space.write(at + 2 * PAGE_SIZE - 2, b"over"), Err(Errno::EFAULT));
    let mut bytes = [0; 8];
    assert_eq!(space.read(at + 2 * PAGE_SIZE - 4, &mut bytes), Err(Errno::EFAULT));
    assert_eq!(&bytes, b"taov\0\0\0\0", "the bytes before the hole were copied");
    for addr in [0, TASK_SIZE, 1 << 47, u64::MAX, u64::MAX - 3] {
        assert_eq!(space.read(addr, &mut bytes), Err(Errno::EFAULT));
        assert_eq!(space.write(addr, &bytes), Err(Errno::EFAULT));
    }
    assert_eq!(space.read(0, &mut []), Ok(()));
}

#[test]
fn protection_cuts_areas_and_is_checked() {
    let space = space();
    let memory = pages(3);
    let at = space.map(None, 0, 3 * PAGE_SIZE, memory.clone(), 0, Prot::RW).unwrap();
    space.protect(at + PAGE_SIZE, 1, Prot::READ).unwrap();
    assert_eq!(space.areas().len(), 3);
    assert_eq!(space.write(at + PAGE_SIZE - 1, &[1, 1]), Err(Errno::EFAULT));
    assert_eq!(memory.load_u8(PAGE_SIZE - 1), Ok(1));
    assert_eq!(space.read(at + PAGE_SIZE - 1, &mut [0; 2]), Ok(()));
    assert_eq!(space.protect(at + 1, PAGE_SIZE, Prot::RW), Err(Errno::EINVAL));
    assert_eq!(space.protect(at, 4 * PAGE_SIZE, Prot::RW), Err(Errno::ENOMEM));
    assert_eq!(space.protect(at, u64::MAX, Prot::RW), Err(Errno::ENOMEM));
    space.protect(at, 3 * PAGE_SIZE, Prot::empty()).unwrap();
    assert_eq!(space.read(at, &mut [0]), Err(Errno::EFAULT));
}

#[test]
fn pages_are_found_as_runs_of_contiguous_memory() {
    let space = space();
    let memory = pages(4);
    let base = 0x10_0000;
    space.map(Some(base), 0, 2 * PAGE_SIZE, memory.clone(), 0, Prot::RW).unwrap();
    space.map(Some(base + 2 * PAGE_SIZE), 0, PAGE_SIZE, memory.clone(), 2 * PAGE_SIZE, Prot::RW).unwrap();
    space.map(Some(base + 3 * PAGE_SIZE), 0, PAGE_SIZE, memory.clone(), 0, Prot::READ).unwrap();
    let spans = space.get_pages(base + PAGE_SIZE, 3 * PAGE_SIZE, false).unwrap();
    let runs: Vec<_> = spans.iter().map(|span| (span.offset, span.len)).collect();
    assert_eq!(runs, [(PAGE_SIZE, 2 * PAGE_SIZE), (0, PAGE_SIZE)]);
    let error = space.get_pages(base, 4 * PAGE_SIZE, true).unwrap_err();
    assert_eq!((error.errno, error.done, error.spans.len()), (Errno::EFAULT, 3 * PAGE_SIZE, 1));
    assert_eq!(error.to_string(), "EFAULT after 0x3000 bytes");
    assert_eq!(space.get_pages(base, u64::MAX, false).unwrap_err().done, 0);
    assert!(space.get_pages(base, 0, true).unwrap().is_empty());
}

#[test]
fn the_missing_end_of_a_short_buffer_faults() {
    let space = space();
    let memory = Memory::external(Buffer::new(5000, true));
    let at = space.map(None, 0, 5000, memory, 0, Prot::RW).unwrap();
    assert_eq!(space.read(at + 4990, &mut [0; 10]), Ok(()));
    assert_eq!(space.read(at + 4990, &mut [0; 11]), Err(Errno::EFAULT));
    assert_eq!(space.get_pages(at, 2 * PAGE_SIZE, false).unwrap_err().done, 5000);
    let next = space.map(None, 0, PAGE_SIZE, pages(1), 0, Prot::RW).unwrap();
    assert_eq!(next, at + 3 * PAGE_SIZE);
}

#[test]
fn locking_charges_pages_once_and_gives_them_back() {
    let space = space();
    let at = space.map(None, 0, 8 * PAGE_SIZE, pages(8), 0, Prot::RW).unwrap();
    space.mlock(at + PAGE_SIZE + 5, PAGE_SIZE).unwrap();
    assert_eq!(space.locked().locked_pages(), 2);
    space.mlock(at, 4 * PAGE_SIZE).unwrap();
    assert_eq!(space.locked().locked_pages(), 4);
    space.munlock(at + 3 * PAGE_SIZE, 2 * PAGE_SIZE).unwrap();
    assert_eq!(space.locked().locked_pages(), 3);
    assert_eq!(space.mlock(at, 9 * PAGE_SIZE), Err(Errno::ENOMEM), "a hole");
    assert_eq!(space.mlock(u64::MAX, 2), Err(Errno::EINVAL));
    assert_eq!(space.munlock(u64::MAX - PAGE_SIZE, PAGE_SIZE + 1), Err(Errno::EINVAL));
    space.locked().charge(11).unwrap();
    assert_eq!(space.mlock(at, 8 * PAGE_SIZE), Err(Errno::ENOMEM), "over the limit");
    assert_eq!(space.locked().locked_pages(), 14);
    space.unmap(at + PAGE_SIZE, 2 * PAGE_SIZE).unwrap();
    assert_eq!(space.locked().locked_pages(), 12);
    space.clear();
    assert_eq!(space.locked().locked_pages(), 11);
    space.locked().set_limits(Limits { memlock: 0, cap_ipc_lock: false });
    assert_eq!(space.mlock(at, PAGE_SIZE), Err(Errno::EPERM));
}

#[test]
fn the_limit_counts_whole_pages_and_the_capability_lifts_it() {
    let locked = LockedMemory::new(Limits { memlock: 3 * PAGE_SIZE - 1, cap_ipc_lock: false });
    assert_eq!(locked.limit_pages(), 2);
    assert_eq!(locked.charge(3), Err(Errno::ENOMEM));
    assert_eq!(locked.charge(u64::MAX), Err(Errno::ENOMEM));
    assert_eq!(locked.charge(2), Ok(()));
    assert!(!locked.has_room(1) && locked.has_room(0));
    assert_eq!(locked.charge_as(5, true), Ok(()));
    locked.set_limits(Limits { memlock: 0, cap_ipc_lock: true });
    assert_eq!(locked.charge(1), Ok(()));
    assert_eq!(locked.charge(u64::MAX), Err(Errno::ENOMEM), "not even then may the count wrap");
    assert_eq!(locked.locked_pages(), 8);
    locked.uncharge(100);
    locked.add_pinned(4);
    locked.sub_pinned(1);
    assert_eq!((locked.locked_pages(), locked.pinned_pages()), (0, 3));
    locked.set_limits(Limits { memlock: u64::MAX, cap_ipc_lock: false });
    assert_eq!(locked.charge(1 << 40), Ok(()));
}

#[test]
fn unmap_refuses_what_munmap_refuses() {
    let space = space();
    assert_eq!(space.unmap(0x1001, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(0x1000, 0), Err(Errno::EINVAL));
    assert_eq!(space.unmap(0x1000, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(space.unmap(TASK_SIZE, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(0x1000, PAGE_SIZE), Ok(()), "a hole is no error");
}

#[test]
fn a_system_with_large_pages_counts_and_places_in_them() {
    const PAGE: u64 = 1 << 16;
    let limits = Limits { memlock: 3 * PAGE + PAGE / 2, cap_ipc_lock: false };
    let space = AddressSpace::with_page_size(limits, PAGE).unwrap();
    assert_eq!(space.locked().limit_pages(), 3, "only whole pages count");
    let memory = Memory::anonymous(4 * PAGE).unwrap();
    let at = space.map(None, 0, 4 * PAGE, memory, 0, Prot::RW).unwrap();
    assert!(at.is_multiple_of(PAGE));
    assert_eq!(space.unmap(at + PAGE_SIZE, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.mlock(at, 3 * PAGE), Ok(()));
    assert_eq!(space.mlock(at + 3 * PAGE, PAGE), Err(Errno::ENOMEM));
    space.clear();
    assert_eq!((space.areas().len(), space.locked().locked_pages()), (0, 0));
    assert!(AddressSpace::with_page_size(limits, 3 * PAGE).is_err());
}

#[test]
fn huge_pages_are_mapped_whole_and_told_apart() {
    const HUGE: u64 = 1 << 21;
    let space = space();
    let memory = Memory::anonymous(2 * HUGE).unwrap();
    let map = |len, offset| space.map_huge(None, 0, len, memory.clone(), offset, Prot::RW, HUGE);
    assert_eq!(map(HUGE + PAGE_SIZE, 0), Err(Errno::EINVAL));
    assert_eq!(map(HUGE, PAGE_SIZE), Err(Errno::EINVAL));
    let at = map(2 * HUGE, 0).unwrap();
    assert!(at.is_multiple_of(HUGE));
    let runs = space.backing(at + PAGE_SIZE, HUGE);
    assert_eq!(
        runs.iter().map(|run| (run.start, run.len, run.page_shift)).collect::<Vec<_>>(),
        [(at + PAGE_SIZE, HUGE, 21)]
    );
    assert!(space.backing(at + 2 * HUGE, HUGE).is_empty());
}

#[test]
fn an_extension_is_made_once_for_each_type() {
    let space = space();
    let first = space.extension(|| 7_u32);
    assert!(Arc::ptr_eq(&first, &space.extension(|| 8_u32)));
    assert_eq!(*space.extension(|| String::from("another")), "another");
}
