//! Where the memory of pages comes from.

use std::sync::Arc;

use vfio_memory::{AddressSpace, HostSpan, Memory, PAGE_SIZE};
use vfio_uapi::Errno;

/// Names memory to be mapped.
#[derive(Clone)]
pub enum MapSource {
    /// Whatever the process has at an address when it is needed (`IOMMU_IOAS_MAP`).
    User(Arc<AddressSpace>, u64),
    /// A file from a byte on (`IOMMU_IOAS_MAP_FILE`); `None` is a file that has no memory to give.
    File(Option<Memory>, u64),
}

impl MapSource {
    /// Returns the address or offset of the first byte.
    pub(super) fn first(&self) -> u64 {
        match self {
            Self::User(_, first) | Self::File(_, first) => *first,
        }
    }

    /// Returns the same memory from the start of the page around the first byte on.
    pub(super) fn page_aligned(self) -> Self {
        let page = |first: u64| first & !(PAGE_SIZE - 1);
        match self {
            Self::User(mm, first) => Self::User(mm, page(first)),
            Self::File(file, first) => Self::File(file, page(first)),
        }
    }

    /// Returns which byte of it lies at an address of a process, if it is of that process and begins no later.
    pub(super) fn byte_of(&self, of: &Arc<AddressSpace>, address: u64) -> Option<u64> {
        match self {
            Self::User(mm, first) if Arc::ptr_eq(mm, of) => address.checked_sub(*first),
            Self::User(..) | Self::File(..) => None,
        }
    }

    /// Tells whether the memory is a file's.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// Finds `len` bytes, `skip` bytes in.
    ///
    /// # Errors
    /// `EFAULT` the process has no such memory, or may not use it so; `EINVAL` the file has no memory to give, or
    /// ends before.
    pub(super) fn look_up(&self, skip: u64, len: u64, write: bool) -> Result<Vec<HostSpan>, Errno> {
        match self {
            Self::User(mm, first) => {
                let at = first.checked_add(skip).ok_or(Errno::EFAULT)?;
                mm.get_pages(at, len, write).map_err(|stop| stop.errno)
            }
            Self::File(file, first) => {
                let memory = file.as_ref().ok_or(Errno::EINVAL)?;
                let offset = first.checked_add(skip).ok_or(Errno::EINVAL)?;
                let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
                if end > memory.len() || (write && !memory.is_writable()) {
                    return Err(Errno::EINVAL);
                }
                Ok(vec![HostSpan { memory: memory.clone(), offset, len }])
            }
        }
    }
}
