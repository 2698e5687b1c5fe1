//! The bytes of a typed array that a call was given.
//!
//! They may be shared with other threads, or be the very memory that the call reads or writes. Then they pass
//! through a private copy, so that no reference to shared bytes is ever made.

// UNSAFETY: typed arrays arrive as address and length; here they become slices where nobody else can reach.
#![expect(unsafe_code, reason = "turns the address of a typed array into bytes")]

use std::marker::PhantomData;
use std::{ptr, slice};

use vfio_memory::copy;

use crate::borrowed;

/// The bytes of a typed array, for the length of a call.
pub(crate) struct Bytes<'a> {
    pointer: *mut u8,
    length: usize,
    private: bool,
    call: PhantomData<&'a ()>,
}

impl Bytes<'_> {
    /// Takes bytes; `shared` tells whether other threads may reach them.
    ///
    /// # Safety
    /// `length` bytes at `pointer` are valid for reads and writes for the lifetime.
    #[inline]
    pub(super) unsafe fn new(pointer: *mut u8, length: usize, shared: bool) -> Self {
        let pointer = if length == 0 { ptr::dangling_mut() } else { pointer };
        let private = !shared && !borrowed::overlaps(pointer.addr(), pointer.addr() + length);
        Self { pointer, length, private, call: PhantomData }
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Lets `work` read the bytes.
    #[inline]
    pub(crate) fn with<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        if self.private {
            // SAFETY: valid by the promise of `new`, and no other thread or memory object reaches them.
            return work(unsafe { slice::from_raw_parts(self.pointer, self.length) });
        }
        work(&self.copied())
    }

    /// Lets `work` write the bytes; what it leaves there is what JavaScript sees.
    #[inline]
    pub(crate) fn with_mut<T>(&mut self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        if self.private {
            // SAFETY: valid by the promise of `new`, and no other thread or memory object reaches them.
            return work(unsafe { slice::from_raw_parts_mut(self.pointer, self.length) });
        }
        let mut copied = self.copied();
        let result = work(&mut copied);
        // SAFETY: the range is valid by the promise of `new`; the copy is ours.
        unsafe { copy::write(self.pointer, copied.as_ptr(), self.length) };
        result
    }

    /// Copies the bytes out.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.copied()
    }

    /// Copies the bytes to the start of `into`; false when they do not fit.
    pub(crate) fn copy_to(&self, into: &mut [u8]) -> bool {
        let fits = self.length <= into.len();
        if fits {
            // SAFETY: the range is valid by the promise of `new`; `into` is ours.
            unsafe { copy::read(self.pointer, into.as_mut_ptr(), self.length) };
        }
        fits
    }

    /// Copies bytes in, as many as there is room for.
    pub(crate) fn store(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(self.length);
        // SAFETY: the range is valid by the promise of `new`; `bytes` are ours.
        unsafe { copy::write(self.pointer, bytes.as_ptr(), length) };
    }

    #[cold]
    fn copied(&self) -> Vec<u8> {
        let mut copied = vec![0; self.length];
        // SAFETY: the range is valid by the promise of `new`; the copy is ours.
        unsafe { copy::read(self.pointer, copied.as_mut_ptr(), self.length) };
        copied
    }
}
