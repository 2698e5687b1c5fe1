//! Tests of memory objects and raw copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;
use vfio_uapi::Errno;

use crate::{ExternalMemory, Memory, PAGE_SIZE};

/// A buffer that can be detached and shrunk, and counts its accesses in flight.
pub(super) struct Buffer {
    bytes: Memory,
    len: AtomicUsize,
    attached: AtomicBool,
    stable: bool,
    inside: AtomicUsize,
}

impl Buffer {
    pub(super) fn new(len: usize, stable: bool) -> Arc<Self> {
        let bytes = Memory::anonymous(len as u64).unwrap();
        Arc::new(Self {
            bytes,
            len: len.into(),
            attached: true.into(),
            stable,
            inside: AtomicUsize::default(),
        })
    }
}

#[expect(unsafe_code, reason = "vouches for an address")]
// SAFETY: the bytes live as long as the buffer, at one address.
unsafe impl ExternalMemory for Buffer {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        if !self.attached.load(Ordering::Relaxed) {
            return None;
        }
        self.inside.fetch_add(1, Ordering::Relaxed);
        Some((self.bytes.stable_ptr()?, self.len.load(Ordering::Relaxed)))
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }

    fn stable(&self) -> bool {
        self.stable
    }
}

#[test]
fn lengths_are_whole_pages_and_absurd_ones_are_refused() {
    assert_eq!(Memory::anonymous(1).unwrap().len(), PAGE_SIZE);
    assert_eq!(Memory::anonymous(0).unwrap_err(), Errno::EINVAL);
    for len in [u64::MAX, u64::MAX - PAGE_SIZE, 1 << 63, 1 << 62, i64::MAX as u64] {
        assert_eq!(Memory::anonymous(len).unwrap_err(), Errno::ENOMEM, "{len:#x}");
        assert!(Memory::memfd("huge", len).is_err(), "{len:#x}");
    }
}

#[test]
fn accesses_outside_are_efault_and_touch_nothing() {
    let memory = Memory::anonymous(PAGE_SIZE).unwrap();
    let mut bytes = [7; 16];
    for offset in [PAGE_SIZE - 15, PAGE_SIZE, u64::MAX, u64::MAX - 15] {
        assert_eq!(memory.read(offset, &mut bytes), Err(Errno::EFAULT));
        assert_eq!(memory.write(offset, &bytes), Err(Errno::EFAULT));
        assert_eq!(memory.fill(offset, 1, 16), Err(Errno::EFAULT));
        assert_eq!(memory.copy_to(offset, &memory, 0, 16), Err(Errno::EFAULT));
        assert_eq!(memory.copy_to(0, &memory, offset, 16), Err(Errno::EFAULT));
    }
    assert_eq!(memory.fill(0, 1, u64::MAX), Err(Errno::EFAULT));
    assert_eq!(memory.load_u64(PAGE_SIZE - 7), Err(Errno::EFAULT));
    assert_eq!(bytes, [7; 16]);
    let mut all = vec![1; PAGE_SIZE as usize];
    memory.read(0, &mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == 0));
    assert_eq!(memory.read(PAGE_SIZE, &mut []), Ok(()));
}

#[test]
fn words_are_native_and_atomics_need_alignment() {
    let memory = Memory::anonymous(PAGE_SIZE).unwrap();
    memory.store_u32(8, 0x1234_5678).unwrap();
    let mut bytes = [0; 4];
    memory.read(8, &mut bytes).unwrap();
    assert_eq!(bytes, 0x1234_5678_u32.to_ne_bytes());
    memory.store_u16(3, 0xbeef).unwrap();
    assert_eq!((memory.load_u16(3), memory.load_u8(3)), (Ok(0xbeef), Ok(0xbeef_u16.to_ne_bytes()[0])));
    assert_eq!(memory.fetch_add_u64(16, u64::MAX), Ok(0));
    assert_eq!(memory.fetch_add_u64(16, 2), Ok(u64::MAX));
    assert_eq!(memory.compare_exchange_u32(16, 1, 5), Ok(1));
    assert_eq!(memory.compare_exchange_u32(16, 1, 6), Ok(5));
    assert_eq!(memory.fetch_add_u32(2, 1), Err(Errno::EINVAL));
    assert_eq!(memory.fetch_add_u64(PAGE_SIZE, 1), Err(Errno::EFAULT));
}

#[test]
fn borrowed_memory_is_asked_each_time_and_told_when_it_is_over() {
    let buffer = Buffer::new(PAGE_SIZE as usize, false);
    let memory = Memory::external(buffer.clone());
    assert_eq!((memory.len(), memory.is_stable(), memory.stable_ptr()), (PAGE_SIZE, false, None));
    memory.store_u64(8, 3).unwrap();
    assert_eq!(memory.fetch_add_u64(8, 1), Ok(3));
    buffer.len.store(12, Ordering::Relaxed);
    assert_eq!(memory.load_u64(8), Err(Errno::EFAULT));
    assert_eq!(memory.load_u32(8), Ok(4));
    buffer.len.store(1 << 20, Ordering::Relaxed);
    assert_eq!(memory.read(PAGE_SIZE, &mut [0]), Err(Errno::EFAULT), "what grew is out of reach");
    buffer.attached.store(false, Ordering::Relaxed);
    assert_eq!(memory.load_u8(0), Err(Errno::EFAULT));
    assert_eq!(memory.copy_to(0, &memory, 8, 4), Err(Errno::EFAULT));
    assert_eq!(memory.locate(0, 1), Err(Errno::EFAULT));
    assert_eq!(buffer.inside.load(Ordering::Relaxed), 0);
}

#[test]
fn stable_borrowed_memory_keeps_its_address() {
    let buffer = Buffer::new(PAGE_SIZE as usize, true);
    let memory = Memory::external(buffer.clone());
    assert_eq!(memory.stable_ptr(), buffer.bytes.stable_ptr());
    buffer.attached.store(false, Ordering::Relaxed);
    assert_eq!(memory.load_u8(0), Ok(0), "it cannot be detached");
    let gone = Memory::external(buffer);
    assert_eq!((gone.len(), gone.is_empty(), gone.is_stable()), (0, true, false));
    assert_eq!(gone.read(0, &mut [0]), Err(Errno::EFAULT));
}

#[test]
fn handles_name_the_same_bytes() {
    let memory = Memory::anonymous(PAGE_SIZE).unwrap();
    let other = memory.clone();
    other.store_u8(0, 9).unwrap();
    assert_eq!(memory.load_u8(0), Ok(9));
    assert!(memory.same_object(&other) && memory.object_id() == other.object_id());
    assert!(!memory.same_object(&Memory::anonymous(PAGE_SIZE).unwrap()));
    assert_eq!(memory.handles(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_memfd_is_shared_sealed_and_read_only_where_mapped_so() {
    if cfg!(miri) {
        return;
    }
    let memory = Memory::memfd("shared", 2 * PAGE_SIZE).unwrap();
    let fd = || memory.fd().unwrap().try_clone_to_owned().unwrap();
    let view = Memory::from_fd(fd(), PAGE_SIZE, 100, false).unwrap();
    memory.store_u32(PAGE_SIZE + 4, 77).unwrap();
    assert_eq!(view.load_u32(4), Ok(77));
    assert_eq!((view.len(), view.is_writable()), (100, false));
    assert_eq!(view.store_u8(0, 1), Err(Errno::EFAULT));
    assert_eq!(view.fetch_add_u32(0, 1), Err(Errno::EFAULT));
    assert!(rustix::fs::ftruncate(fd(), 0).is_err(), "the size is sealed");
    let refused = |offset, len| Memory::from_fd(fd(), offset, len, true).unwrap_err();
    assert_eq!(refused(0, 0), Errno::EINVAL);
    assert_eq!(refused(1, PAGE_SIZE), Errno::EINVAL);
    assert_eq!(refused(PAGE_SIZE, 2 * PAGE_SIZE), Errno::EINVAL);
    assert_eq!(refused(u64::MAX, PAGE_SIZE), Errno::EINVAL);
    assert_eq!(Memory::memfd("a\0b", PAGE_SIZE).unwrap_err(), Errno::EINVAL);
}

#[test]
fn aligned_words_are_never_torn() {
    let memory = Memory::anonymous(PAGE_SIZE).unwrap();
    let stop = AtomicBool::new(false);
    let words = [0x0101_0101_0101_0101_u64, 0xfefe_fefe_fefe_fefe];
    memory.store_u64(8, words[0]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in (0..2).cycle() {
                memory.write(8, &words[turn].to_ne_bytes()).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..if cfg!(miri) { 50 } else { 200_000 } {
            let word = memory.load_u64(8).unwrap();
            assert!(words.contains(&word), "{word:#x}");
            let half = memory.load_u32(12).unwrap();
            assert!([0x0101_0101, 0xfefe_fefe].contains(&half), "{half:#x}");
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

proptest! {
    #[test]
    fn copies_of_any_length_and_alignment_are_exact(
        at in 0..64_usize, len in 0..200_usize, to in 0..64_usize, seed: u8,
    ) {
        let memory = Memory::anonymous(PAGE_SIZE).unwrap();
        let sent: Vec<u8> = (0..len).map(|n| seed.wrapping_add(n as u8) | 1).collect();
        let mut expected = vec![0; 512];
        memory.write(at as u64, &sent).unwrap();
        expected[at..at + len].copy_from_slice(&sent);
        memory.copy_to(at as u64, &memory, to as u64, len as u64).unwrap();
        expected.copy_within(at..at + len, to);
        memory.fill(300 + to as u64, seed, at as u64).unwrap();
        expected[300 + to..300 + to + at].fill(seed);
        let mut seen = vec![0; 512];
        memory.read(0, &mut seen).unwrap();
        prop_assert_eq!(&seen, &expected);
        let mut piece = vec![0; len];
        memory.read(to as u64, &mut piece).unwrap();
        prop_assert_eq!(&piece, &expected[to..to + len]);
    }
}

#[cfg(target_os = "linux")]
#[test]
#[expect(unsafe_code, reason = "replaces pages of its own")]
fn pages_behind_a_descriptor_can_lie_at_a_second_address() {
    let memory = Memory::memfd("twice", 2 * PAGE_SIZE).unwrap();
    let other = Memory::anonymous(2 * PAGE_SIZE).unwrap();
    let at = other.stable_ptr().unwrap();
    memory.store_u32(4, 7).unwrap();
    // SAFETY: the pages are `other`'s, of the same length, and it unmaps them.
    unsafe {
        assert_eq!(Memory::anonymous(2 * PAGE_SIZE).unwrap().map_over(at), Err(Errno::EOPNOTSUPP));
        assert_eq!(memory.map_over(at.add(1)), Err(Errno::EINVAL));
        assert_eq!(other.load_u32(4), Ok(0));
        memory.map_over(at).unwrap();
    }
    assert_eq!(other.load_u32(4), Ok(7));
    other.store_u32(PAGE_SIZE, 8).unwrap();
    assert_eq!(memory.load_u32(PAGE_SIZE), Ok(8));
    drop(memory);
    assert_eq!(other.load_u32(PAGE_SIZE), Ok(8), "the system keeps the pages while they lie somewhere");
}
