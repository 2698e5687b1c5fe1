//! Page-aligned heap memory for systems without `mmap`.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use vfio_uapi::Errno;

use crate::PAGE_SIZE;

/// Owns zeroed, page-aligned memory.
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    layout: Layout,
}

impl Mapping {
    /// Allocates `len` bytes (not zero, whole pages), zeroed.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn anonymous(len: usize) -> Result<Self, Errno> {
        let layout = Layout::from_size_align(len, PAGE_SIZE as usize).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the layout is not empty, by the caller's contract.
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Errno::ENOMEM)?;
        Ok(Self { ptr, layout })
    }

    /// Returns the first byte's address.
    pub(crate) fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody reaches it after the last owner is gone.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}
