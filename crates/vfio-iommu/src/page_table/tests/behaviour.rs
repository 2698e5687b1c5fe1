//! Single behaviours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vfio_memory::{ExternalMemory, HostSpan, Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use crate::{Access, DmaFault, DmaSpace, FaultReason, IoPageTable, IovaRange, REFUSED};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn range(start: u64, size: u64) -> IovaRange {
    IovaRange::sized(start, size).unwrap()
}

fn table(mappings: &[(u64, u64)], memory: &Memory) -> IoPageTable {
    let table = IoPageTable::new();
    for (iova, size) in mappings {
        table.map(range(*iova, *size), memory, 0, Prot::RW).unwrap();
    }
    table
}

/// Borrowed bytes that can be taken away, and whose address is asked each time.
struct Buffer {
    bytes: Memory,
    attached: AtomicBool,
}

#[expect(unsafe_code, reason = "vouches for an address")]
// SAFETY: the bytes live as long as the buffer.
unsafe impl ExternalMemory for Buffer {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        let attached = self.attached.load(Ordering::Relaxed);
        attached.then(|| (self.bytes.stable_ptr().unwrap(), self.bytes.len() as usize))
    }

    fn stable(&self) -> bool {
        false
    }
}

fn buffer(len: u64) -> Arc<Buffer> {
    Arc::new(Buffer { bytes: Memory::anonymous(len).unwrap(), attached: AtomicBool::new(true) })
}

/// Memory that is never touched, of any size.
struct Phantom(usize);

#[expect(unsafe_code, reason = "stands for memory that no test touches")]
// SAFETY: the tests that use it translate only.
unsafe impl ExternalMemory for Phantom {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        Some((std::ptr::without_provenance_mut(1 << 44), self.0))
    }

    fn stable(&self) -> bool {
        true
    }
}

fn phantom(len: u64) -> Memory {
    Memory::external(Arc::new(Phantom(len as usize)))
}

#[test]
fn refuses_what_it_cannot_map_and_changes_nothing() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = table(&[(0x4000, PAGE_SIZE)], &memory);
    let before = table.memory_usage();
    let map = |start, size, offset| table.map(range(start, size), &memory, offset, Prot::RW);
    assert_eq!(map(0x800, PAGE_SIZE, 0), Err(Errno::EINVAL));
    assert_eq!(map(0x1000, 0x800, 0), Err(Errno::EINVAL));
    assert_eq!(map(0x1000, 5 * PAGE_SIZE, 0), Err(Errno::EINVAL));
    assert_eq!(map(0x1000, PAGE_SIZE, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(table.map(IovaRange::ALL, &memory, 0, Prot::RW), Err(Errno::EINVAL));
    assert_eq!(map(0x3000, 2 * PAGE_SIZE, 0), Err(Errno::EEXIST));
    assert_eq!(map(0x4000, PAGE_SIZE, 0), Err(Errno::EEXIST));
    assert_eq!(table.unmap(range(0x4000, 0x800)), Err(Errno::EINVAL));
    assert_eq!((table.memory_usage(), memory.handles()), (before, 2));
}

#[test]
fn takes_back_spans_when_one_of_them_cannot_be_mapped() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = table(&[(0x4000, PAGE_SIZE)], &memory);
    let span = |offset, len| HostSpan { memory: memory.clone(), offset, len };
    let spans = [span(0, PAGE_SIZE), span(0x2000, PAGE_SIZE)];
    assert_eq!(table.map_spans(0x3000, &spans, Prot::RW), Err(Errno::EEXIST));
    assert_eq!(table.map_spans(0x1000, &[span(0, PAGE_SIZE), span(0, 0)], Prot::RW), Err(Errno::EINVAL));
    assert_eq!(table.map_spans(u64::MAX - 0xfff, &spans, Prot::RW), Err(Errno::EINVAL));
    assert!(table.translate(0x3000, Access::Read).is_err());
    assert!(table.translate(u64::MAX, Access::Read).is_err());
    table.map_spans(0x2000, &spans, Prot::RW).unwrap();
    memory.store_u32(0x2000, 7).unwrap();
    let mut bytes = [0; 4];
    table.read(0x3000, &mut bytes).unwrap();
    assert_eq!(u32::from_ne_bytes(bytes), 7);
}

#[test]
fn copies_across_leaves_all_or_nothing() {
    let memory = Memory::anonymous(16 * PAGE_SIZE).unwrap();
    let table = IoPageTable::new();
    for page in 0..3 {
        // Backwards in memory, so that nothing merges.
        table.map(range(page * PAGE_SIZE, PAGE_SIZE), &memory, (8 - page) * PAGE_SIZE, Prot::RW).unwrap();
    }
    let sent: Vec<u8> = (0..3 * PAGE_SIZE).map(|byte| byte as u8 ^ (byte >> 8) as u8).collect();
    table.write(0, &sent).unwrap();
    let mut seen = vec![0; sent.len()];
    table.read(0, &mut seen).unwrap();
    assert_eq!(seen, sent);
    table.read(0x7fd, &mut seen[..0x1806]).unwrap();
    assert_eq!(seen[..0x1806], sent[0x7fd..0x2003]);

    let fault = table.write(0x2ff0, &[1; 0x20]).unwrap_err();
    let expected =
        DmaFault { iova: 0x3000, len: 0x10, access: Access::Write, reason: FaultReason::NoMapping };
    assert_eq!(fault, expected);
    table.read(0x2ff0, &mut seen[..0x10]).unwrap();
    assert_eq!(seen[..0x10], sent[0x2ff0..], "a refused write left nothing behind");
    assert_eq!(table.read(0x9999, &mut []), Ok(()));
    let wrap = table.read(u64::MAX - 1, &mut [0; 4]).unwrap_err();
    assert_eq!(wrap.reason, FaultReason::OutsideWindow);
    table.fill(0x800, 0x5a, 0x1000).unwrap();
    table.read(0x7ff, &mut seen[..0x1002]).unwrap();
    assert!(seen[1..0x1001].iter().all(|byte| *byte == 0x5a));
    assert_eq!((seen[0], seen[0x1001]), (sent[0x7ff], sent[0x1800]));
}

#[test]
fn rights_are_checked_for_each_access() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = IoPageTable::new();
    table.map(range(0, PAGE_SIZE), &memory, 0, Prot::READ).unwrap();
    table.map(range(0x1000, PAGE_SIZE), &memory, 0, Prot::WRITE).unwrap();
    table.map(range(0x2000, PAGE_SIZE), &memory, 0, Prot::empty()).unwrap();
    let reason = |result: Result<(), DmaFault>| result.unwrap_err().reason;
    assert_eq!(table.read(0, &mut [0]), Ok(()));
    assert_eq!(reason(table.write(0, &[0])), FaultReason::Permission);
    assert_eq!(reason(table.read(0x1000, &mut [0])), FaultReason::Permission);
    assert_eq!(table.write(0x1000, &[0]), Ok(()));
    assert_eq!(reason(table.read(0x2000, &mut [0])), FaultReason::Permission);
    let fault = table.fetch_add_u32(0x1000, 1).unwrap_err();
    assert_eq!((fault.access, fault.reason), (Access::Read, FaultReason::Permission));
    let fault = table.fetch_add_u32(0, 1).unwrap_err();
    assert_eq!((fault.access, fault.reason), (Access::Write, FaultReason::Permission));
}

#[test]
fn atomics_need_alignment_on_both_sides() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = IoPageTable::new();
    table.map(range(0, PAGE_SIZE), &memory, 0, Prot::RW).unwrap();
    table.map(range(0x1000, PAGE_SIZE), &memory, 0x1004, Prot::RW).unwrap();
    assert_eq!(table.fetch_add_u64(8, 5), Ok(0));
    assert_eq!(table.compare_exchange_u64(8, 5, 9), Ok(5));
    assert_eq!(table.compare_exchange_u64(8, 5, 1), Ok(9));
    assert_eq!(table.fetch_add_u32(0x1004, 1), Ok(0));
    assert_eq!(memory.load_u64(8), Ok(9));
    for iova in [4, 0x1000] {
        assert_eq!(table.fetch_add_u64(iova, 1).unwrap_err().reason, FaultReason::Misaligned);
    }
}

#[test]
fn detachable_memory_is_asked_at_every_access() {
    let buffer = buffer(8 * PAGE_SIZE);
    let memory = Memory::external(buffer.clone());
    assert!(!memory.is_stable());
    let table = IoPageTable::new();
    table.map(range(0x1f_e000, 6 * PAGE_SIZE), &memory, PAGE_SIZE, Prot::RW).unwrap();
    table.write(0x1f_effe, b"across").unwrap();
    let mut bytes = [0; 6];
    buffer.bytes.read(PAGE_SIZE + 0xffe, &mut bytes).unwrap();
    assert_eq!(&bytes, b"across");
    assert_eq!(table.fetch_add_u32(0x20_0000, 1), Ok(0));
    let host = buffer.bytes.stable_ptr().unwrap().addr() as u64;
    assert_eq!(table.translate(0x20_0008, Access::Read).unwrap().host, host + 0x3008);

    buffer.attached.store(false, Ordering::Relaxed);
    let detached = |result: Result<(), DmaFault>| result.unwrap_err().reason == FaultReason::Detached;
    assert!(detached(table.read(0x1f_e000, &mut bytes)));
    assert!(detached(table.write(0x1f_e000, &bytes)));
    assert!(detached(table.fill(0x1f_e000, 0, 9)));
    assert!(detached(table.fetch_add_u64(0x1f_e000, 0).map(drop)));
    assert!(detached(table.translate(0x1f_e000, Access::Read).map(drop)));

    // Cut in three, the owner goes with the last piece.
    assert_eq!(table.unmap(range(0x1f_f000, PAGE_SIZE)), Ok(PAGE_SIZE));
    assert_eq!(table.unmap(range(0x20_0000, 4 * PAGE_SIZE)), Ok(4 * PAGE_SIZE));
    assert_eq!(memory.handles(), 2);
    buffer.attached.store(true, Ordering::Relaxed);
    table.read(0x1f_e000, &mut bytes).unwrap();
    assert_eq!(table.unmap(IovaRange::ALL), Ok(PAGE_SIZE));
    assert_eq!(memory.handles(), 1);
}

#[test]
fn sparse_spaces_are_small() {
    let memory = phantom(64 * GIB);
    let places = |stride: u64| (0..8).map(move |n: u64| n.wrapping_mul(stride));
    for stride in [2 * MIB, GIB, 4 * GIB, 1 << 40, 1 << 61, (1 << 61) - 2 * MIB] {
        for size in [PAGE_SIZE, 64 * KIB, 2 * MIB, 2 * MIB + PAGE_SIZE] {
            let mappings: Vec<_> = places(stride).map(|start| (start, size.min(stride))).collect();
            let bytes = table(&mappings, &memory).memory_usage();
            assert!(bytes <= 64 << 10, "{bytes} bytes for eight mappings of {size:#x}, {stride:#x} apart");
        }
    }
}

#[test]
fn large_mappings_take_few_leaves() {
    let memory = phantom(1 << 42);
    let gib = table(&[(GIB, GIB)], &memory).memory_usage();
    assert!(gib <= 8 << 10, "{gib} bytes for an aligned GiB");
    let odd = table(&[(GIB - PAGE_SIZE, GIB + 2 * PAGE_SIZE)], &memory).memory_usage();
    assert!(odd <= 16 << 10, "{odd} bytes for a GiB and a page on each side");
    let huge = table(&[(0, 1 << 42)], &memory);
    assert!(huge.memory_usage() <= 8 << 10);
    assert_eq!(huge.translate((1 << 42) - 1, Access::Read).unwrap().len, 1);
    assert_eq!(huge.translate(0, Access::Read).unwrap().len, 1 << 39);
}

#[test]
fn pages_mapped_in_order_become_one() {
    let memory = Memory::anonymous(4 * MIB).unwrap();
    let table = IoPageTable::new();
    for page in 0..1024 {
        table.map(range(GIB + page * PAGE_SIZE, PAGE_SIZE), &memory, page * PAGE_SIZE, Prot::RW).unwrap();
    }
    assert_eq!(table.translate(GIB, Access::Read).unwrap().len, 4 * MIB);
    assert_eq!(table.unmap(range(GIB + MIB, PAGE_SIZE)), Ok(PAGE_SIZE));
    assert_eq!(table.translate(GIB, Access::Read).unwrap().len, MIB);
    assert!(table.translate(GIB + MIB, Access::Read).is_err());
    assert_eq!(table.translate(GIB + MIB + PAGE_SIZE, Access::Read).unwrap().len, 3 * MIB - PAGE_SIZE);
}

#[test]
fn ranges_that_grow_become_leaves() {
    let memory = phantom(8 * GIB);
    let table = IoPageTable::new();
    let step = 64 * KIB;
    for at in (0..4 * GIB + 4 * MIB).step_by(step as usize) {
        table.map(range(MIB + at, step), &memory, at, Prot::RW).unwrap();
    }
    for at in (0..4 * GIB + 4 * MIB).step_by(PAGE_SIZE as usize * 511) {
        let answer = table.translate(MIB + at, Access::Write).unwrap();
        assert_eq!(answer.host, (1 << 44) + at);
    }
    for start in [4 * MIB, GIB] {
        assert_eq!(table.translate(start, Access::Write).unwrap().len, 2 * MIB);
    }
    assert!(table.memory_usage() < 64 << 10);
}

#[test]
fn objects_next_to_each_other_are_let_go_one_by_one() {
    // Two borrowed halves of one allocation touch in memory; their mappings touch too.
    let whole = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    struct Half(Memory, usize);
    #[expect(unsafe_code, reason = "vouches for an address")]
    // SAFETY: the memory lives as long as the half.
    unsafe impl ExternalMemory for Half {
        fn resolve(&self) -> Option<(*mut u8, usize)> {
            Some((self.0.stable_ptr()?.wrapping_add(self.1), 2 * PAGE_SIZE as usize))
        }

        fn stable(&self) -> bool {
            true
        }
    }
    let [low, high] =
        [0, 2 * PAGE_SIZE as usize].map(|at| Memory::external(Arc::new(Half(whole.clone(), at))));
    let twin = Memory::external(Arc::new(Half(whole.clone(), 0)));
    let table = IoPageTable::new();
    table.map(range(0, 2 * PAGE_SIZE), &low, 0, Prot::RW).unwrap();
    table.map(range(2 * PAGE_SIZE, 2 * PAGE_SIZE), &high, 0, Prot::RW).unwrap();
    table.map(range(GIB, 2 * PAGE_SIZE), &twin, 0, Prot::RW).unwrap();
    table.unmap(range(PAGE_SIZE, 3 * PAGE_SIZE)).unwrap();
    assert_eq!((low.handles(), high.handles(), twin.handles()), (2, 1, 2));
    table.unmap(range(0, PAGE_SIZE)).unwrap();
    table.unmap(range(GIB, PAGE_SIZE)).unwrap();
    assert_eq!((low.handles(), twin.handles()), (2, 2), "twins leave together");
    table.unmap(IovaRange::ALL).unwrap();
    assert_eq!((low.handles(), twin.handles()), (1, 1));
}

#[test]
fn a_series_of_changes_shows_at_once() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = IoPageTable::new();
    let mut edit = table.edit();
    edit.map(range(0, PAGE_SIZE), &memory, 0, Prot::RW).unwrap();
    assert!(table.translate(0, Access::Read).is_ok());
    assert_eq!(edit.unmap(IovaRange::ALL), Ok(PAGE_SIZE));
    assert!(table.translate(0, Access::Read).is_err());
    assert_eq!(edit.unmap(IovaRange::ALL), Ok(0));
    edit.map(range(0, PAGE_SIZE), &memory, PAGE_SIZE, Prot::RW).unwrap();
    drop(edit);
    assert_eq!(memory.handles(), 2);
    drop(table);
    assert_eq!(memory.handles(), 1);
}

#[test]
fn batches_stop_at_the_first_refusal() {
    let memory = Memory::anonymous(4 * PAGE_SIZE).unwrap();
    let table = table(&[(0x1000, PAGE_SIZE), (0x3000, PAGE_SIZE)], &memory);
    let host = memory.stable_ptr().unwrap().addr() as u64;
    let mut iovas = [0x1008, 0x2000, 0x3010, u64::MAX];
    assert_eq!(table.translate_batch(&mut iovas, Access::Write), 2);
    assert_eq!(iovas, [host + 8, REFUSED, host + 0x10, REFUSED]);

    table.write_batch(&[[0x1000, 3], [0x3003, 0], [0x3003, u64::MAX]], b"abcdef").unwrap();
    let mut seen = [0; 8];
    table.read_batch(&[[0x1001, 2], [0x3003, 3]], &mut seen).unwrap();
    assert_eq!(&seen, b"bcdef\0\0\0");
    let fault = table.read_batch(&[[0x1000, 1], [0x2000, 2], [0x1000, 1]], &mut seen).unwrap_err();
    assert_eq!((fault.iova, fault.len, seen[0], seen[3]), (0x2000, 2, b'a', b'e'));
}

#[test]
fn the_last_page_of_the_space_can_be_mapped() {
    let memory = Memory::anonymous(2 * PAGE_SIZE).unwrap();
    let table = table(&[(u64::MAX - 0xfff, PAGE_SIZE), (0, PAGE_SIZE)], &memory);
    table.write(u64::MAX, &[9]).unwrap();
    assert_eq!(memory.load_u8(0xfff), Ok(9));
    assert_eq!(table.write(u64::MAX, &[9, 9]).unwrap_err().reason, FaultReason::OutsideWindow);
    assert_eq!(table.unmap(IovaRange::ALL), Ok(2 * PAGE_SIZE));
    assert_eq!(table.memory_usage(), 0);
}

#[test]
fn read_only_memory_is_not_mapped_for_writing() {
    let table = IoPageTable::new();
    let Ok(memfd) = Memory::memfd("read-only", PAGE_SIZE) else { return };
    #[cfg(target_os = "linux")]
    {
        let fd = memfd.fd().unwrap().try_clone_to_owned().unwrap();
        let memory = Memory::from_fd(fd, 0, PAGE_SIZE, false).unwrap();
        assert_eq!(table.map(range(0, PAGE_SIZE), &memory, 0, Prot::RW), Err(Errno::EACCES));
        assert_eq!(table.map(range(0, PAGE_SIZE), &memory, 0, Prot::READ), Ok(()));
    }
}
