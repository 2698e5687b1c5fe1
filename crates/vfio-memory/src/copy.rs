//! Raw copies between private buffers and memory that others may change at the same moment.
//!
//! Shared memory is only ever reached through raw pointers: a `&[u8]` over it would promise the compiler
//! that nobody writes. Up to eight naturally aligned bytes move in one access, so a device and a driver never
//! see half of each other's word; longer runs go to `memcpy`, which gives no such promise as a whole.
//!
//! One-word loads acquire and stores release: what was written before a flag is seen by who reads the flag.

// UNSAFETY: the bytes belong to a program that runs beside us; no reference to them can exist.
#![expect(unsafe_code, reason = "raw access to shared memory is this module's purpose")]

use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Copies `len` bytes out of shared memory.
///
/// # Safety
/// `shared` is valid for reads and `into` for writes of `len` bytes; they do not overlap, and nobody else
/// reaches `into`.
#[inline]
pub unsafe fn read(shared: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise, with alignment checked before each one-word access.
    unsafe {
        if len == 8 && shared.addr().is_multiple_of(8) {
            into.cast::<u64>().write_unaligned(load_u64(shared));
        } else if len == 4 && shared.addr().is_multiple_of(4) {
            into.cast::<u32>().write_unaligned(load_u32(shared));
        } else if len > 8 {
            ptr::copy_nonoverlapping(shared, into, len);
            fence(Ordering::Acquire);
        } else {
            read_short(shared, into, len);
        }
    }
}

/// Copies `len` bytes into shared memory.
///
/// # Safety
/// `shared` is valid for writes and `from` for reads of `len` bytes; they do not overlap, and nobody else
/// writes `from`.
#[inline]
pub unsafe fn write(shared: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's promise, with alignment checked before each one-word access.
    unsafe {
        if len == 8 && shared.addr().is_multiple_of(8) {
            store_u64(shared, from.cast::<u64>().read_unaligned());
        } else if len == 4 && shared.addr().is_multiple_of(4) {
            store_u32(shared, from.cast::<u32>().read_unaligned());
        } else if len > 8 {
            fence(Ordering::Release);
            ptr::copy_nonoverlapping(from, shared, len);
        } else {
            write_short(shared, from, len);
        }
    }
}

/// Asks for the bytes at an address to be fetched, without waiting for them; any address will do.
#[inline(always)]
pub fn prefetch(shared: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(shared.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = shared;
}

/// As [`read`], of bytes that are on their way into the cache ([`prefetch`]): then calling `memcpy` for some tens of
/// them takes longer than copying them.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
pub unsafe fn read_fetched(shared: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise; both halves lie inside.
    unsafe {
        if (32..=64).contains(&len) {
            halves(shared, into, len);
            fence(Ordering::Acquire);
        } else {
            read(shared, into, len);
        }
    }
}

/// As [`write()`], to bytes that are on their way into the cache; see [`read_fetched`].
///
/// # Safety
/// As for [`write()`].
#[inline(always)]
pub unsafe fn write_fetched(shared: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's promise; both halves lie inside.
    unsafe {
        if (32..=64).contains(&len) {
            fence(Ordering::Release);
            halves(from, shared, len);
        } else {
            write(shared, from, len);
        }
    }
}

/// Copies the first and the last 32 bytes of 32 to 64.
#[inline(always)]
unsafe fn halves(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise: `len` bytes are valid on both sides, and do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(from, to, 32);
        ptr::copy_nonoverlapping(from.add(len - 32), to.add(len - 32), 32);
    }
}

/// Copies `len` bytes from shared memory to shared memory; the ranges may overlap.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of `len` bytes.
#[inline]
pub unsafe fn between(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise; a word is only used for one where both sides are aligned.
    unsafe {
        if len == 8 && (from.addr() | to.addr()).is_multiple_of(8) {
            store_u64(to, load_u64(from));
        } else if len == 4 && (from.addr() | to.addr()).is_multiple_of(4) {
            store_u32(to, load_u32(from));
        } else {
            ptr::copy(from, to, len);
        }
    }
}

/// Sets `len` bytes of shared memory to `byte`.
///
/// # Safety
/// `shared` is valid for writes of `len` bytes.
#[inline]
pub unsafe fn fill(shared: *mut u8, byte: u8, len: usize) {
    if len <= 8 {
        let bytes = [byte; 8];
        // SAFETY: the caller's promise; the local array has eight bytes.
        unsafe { write(shared, bytes.as_ptr(), len) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { ptr::write_bytes(shared, byte, len) }
    }
}

/// Moves up to eight bytes in the fewest naturally aligned accesses.
#[inline(never)]
unsafe fn read_short(mut shared: *const u8, mut into: *mut u8, mut len: usize) {
    while len > 0 {
        let step = aligned_step(shared.addr(), len);
        // SAFETY: `step` is at most `len` and `shared` is aligned to it.
        unsafe {
            match step {
                8 => into.cast::<u64>().write_unaligned(load_u64(shared)),
                4 => into.cast::<u32>().write_unaligned(load_u32(shared)),
                2 => into.cast::<u16>().write_unaligned(load_u16(shared)),
                _ => into.write(load_u8(shared)),
            }
            shared = shared.add(step);
            into = into.add(step);
        }
        len -= step;
    }
}

/// The writing twin of [`read_short`].
#[inline(never)]
unsafe fn write_short(mut shared: *mut u8, mut from: *const u8, mut len: usize) {
    while len > 0 {
        let step = aligned_step(shared.addr(), len);
        // SAFETY: `step` is at most `len` and `shared` is aligned to it.
        unsafe {
            match step {
                8 => store_u64(shared, from.cast::<u64>().read_unaligned()),
                4 => store_u32(shared, from.cast::<u32>().read_unaligned()),
                2 => store_u16(shared, from.cast::<u16>().read_unaligned()),
                _ => store_u8(shared, from.read()),
            }
            shared = shared.add(step);
            from = from.add(step);
        }
        len -= step;
    }
}

/// Returns the largest of 1, 2, 4, 8 that divides `addr` and fits `len`, which is not zero.
#[inline]
fn aligned_step(addr: usize, len: usize) -> usize {
    let fits = 1 << len.min(8).ilog2();
    let aligned = 1 << addr.trailing_zeros().min(3);
    if fits < aligned { fits } else { aligned }
}

macro_rules! words {
    ($($load:ident $store:ident $swap:ident $add:ident $word:ident $atomic:ident,)*) => {$(
        #[doc = concat!("Loads one `", stringify!($word), "` of shared memory in one access.")]
        ///
        /// # Safety
        /// `shared` is valid for reads and aligned to the word.
        #[inline]
        pub unsafe fn $load(shared: *const u8) -> $word {
            debug_assert!(shared.addr() % size_of::<$word>() == 0);
            // SAFETY: valid and aligned by the caller's promise.
            unsafe { $atomic::from_ptr(shared.cast_mut().cast()) }.load(Ordering::Acquire)
        }

        #[doc = concat!("Stores one `", stringify!($word), "` to shared memory in one access.")]
        ///
        /// # Safety
        /// `shared` is valid for writes and aligned to the word.
        #[inline]
        pub unsafe fn $store(shared: *mut u8, value: $word) {
            debug_assert!(shared.addr() % size_of::<$word>() == 0);
            // SAFETY: valid and aligned by the caller's promise.
            unsafe { $atomic::from_ptr(shared.cast()) }.store(value, Ordering::Release)
        }

        #[doc = concat!("Stores `new` if the `", stringify!($word), "` equals `current`; returns what was there.")]
        ///
        /// # Safety
        /// `shared` is valid for reads and writes and aligned to the word.
        #[inline]
        pub unsafe fn $swap(shared: *mut u8, current: $word, new: $word) -> $word {
            debug_assert!(shared.addr() % size_of::<$word>() == 0);
            // SAFETY: valid and aligned by the caller's promise.
            let word = unsafe { $atomic::from_ptr(shared.cast()) };
            word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|seen| seen)
        }

        #[doc = concat!("Adds to the `", stringify!($word), "`, wrapping; returns what was there.")]
        ///
        /// # Safety
        /// `shared` is valid for reads and writes and aligned to the word.
        #[inline]
        pub unsafe fn $add(shared: *mut u8, value: $word) -> $word {
            debug_assert!(shared.addr() % size_of::<$word>() == 0);
            // SAFETY: valid and aligned by the caller's promise.
            unsafe { $atomic::from_ptr(shared.cast()) }.fetch_add(value, Ordering::SeqCst)
        }
    )*};
}

words! {
    load_u8 store_u8 compare_exchange_u8 fetch_add_u8 u8 AtomicU8,
    load_u16 store_u16 compare_exchange_u16 fetch_add_u16 u16 AtomicU16,
    load_u32 store_u32 compare_exchange_u32 fetch_add_u32 u32 AtomicU32,
    load_u64 store_u64 compare_exchange_u64 fetch_add_u64 u64 AtomicU64,
}
