//! `Memory`: bytes that a program can map and a device can reach.
//!
//! One handle, cheap to clone, over four sources. Where the address is fixed for life ("stable") it is kept
//! beside the length, so an access is a bounds check and a copy; borrowed memory that may move or vanish is
//! asked for its address at every use.

// UNSAFETY: the address of owned and borrowed memory meets `copy` here, after the bounds check.
#![expect(unsafe_code, reason = "turns checked offsets into raw addresses")]

mod access;
#[cfg(target_os = "linux")]
mod file_window;

use std::fmt;
#[cfg(target_os = "linux")]
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use vfio_uapi::Errno;

use crate::mapping::Mapping;
use crate::{ExternalMemory, PAGE_SIZE};
#[cfg(target_os = "linux")]
use file_window::FileWindow;

/// Holds bytes that can be mapped and reached by DMA; a clone is another handle to the same bytes.
#[derive(Clone)]
pub struct Memory(Arc<Object>);

struct Object {
    /// Address of the first byte when it is fixed for life, null otherwise.
    stable: *mut u8,
    len: u64,
    writable: bool,
    backing: Backing,
}

enum Backing {
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "keeps the pages; only their file is asked for")
    )]
    Mapping(Mapping),
    #[cfg(target_os = "linux")]
    File(FileWindow),
    External(Arc<dyn ExternalMemory>),
}

// SAFETY: the address is only dereferenced through `copy`, which expects others to write at the same time;
// the backing is `Send + Sync` itself.
unsafe impl Send for Object {}
// SAFETY: as above; nothing in the object changes after construction.
unsafe impl Sync for Object {}

/// An address in use: a borrowed source is told when the access is over.
struct Reach<'a> {
    ptr: *mut u8,
    source: Option<&'a dyn ExternalMemory>,
}

impl Drop for Reach<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(source) = self.source {
            source.leave();
        }
    }
}

impl Memory {
    /// Allocates zeroed private memory; the length is rounded up to whole pages, as `mmap` does.
    ///
    /// # Errors
    /// `EINVAL` length zero; `ENOMEM`.
    pub fn anonymous(len: u64) -> Result<Self, Errno> {
        Ok(Self::mapped(Mapping::anonymous(whole_pages(len)?)?, len, true))
    }

    /// Allocates zeroed memory that another process can map through its descriptor; the length is rounded
    /// up to whole pages and sealed, so nobody can cut it.
    ///
    /// # Errors
    /// `EINVAL` length zero or bad name; `ENOMEM`, `EMFILE`; `EOPNOTSUPP` where the system has no memfd.
    pub fn memfd(name: &str, len: u64) -> Result<Self, Errno> {
        #[cfg(target_os = "linux")]
        return Ok(Self::mapped(Mapping::memfd(name, whole_pages(len)?)?, len, true));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (name, whole_pages(len)?);
            Err(Errno::EOPNOTSUPP)
        }
    }

    /// Allocates as [`anonymous`](Self::anonymous) does, of huge pages of `page` bytes, which the system has to have
    /// in reserve; the length is rounded up to whole ones.
    ///
    /// # Errors
    /// `EINVAL` length zero, or a size of pages that the system does not have; `ENOMEM` too few are in reserve;
    /// `EOPNOTSUPP` where the system has none at all.
    pub fn huge(len: u64, page: u64) -> Result<Self, Errno> {
        let len = whole_huge_pages(len, page)?;
        #[cfg(target_os = "linux")]
        return Ok(Self::mapped(Mapping::huge(len, page.trailing_zeros())?, len as u64, true));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = len;
            Err(Errno::EOPNOTSUPP)
        }
    }

    /// Allocates as [`memfd`](Self::memfd) does, of huge pages of `page` bytes.
    ///
    /// # Errors
    /// As [`huge`](Self::huge); `EINVAL` bad name; `EMFILE`.
    pub fn huge_memfd(name: &str, len: u64, page: u64) -> Result<Self, Errno> {
        let len = whole_huge_pages(len, page)?;
        #[cfg(target_os = "linux")]
        return Ok(Self::mapped(Mapping::huge_memfd(name, len, page.trailing_zeros())?, len as u64, true));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (name, len);
            Err(Errno::EOPNOTSUPP)
        }
    }

    /// Maps `len` bytes of a descriptor from `offset` on, shared with whoever else has it.
    ///
    /// A file whose size is not sealed could be cut under a mapping, and the next access would kill the process:
    /// its bytes are reached by system calls instead, and an access beyond its present end is `EFAULT`.
    /// [`is_stable`](Self::is_stable) tells which it is.
    ///
    /// # Errors
    /// `EINVAL` length zero, offset not page aligned, or the file ends before the range; `EACCES` no write
    /// access; `ENODEV` not mappable; `ENOMEM`.
    #[cfg(target_os = "linux")]
    pub fn from_fd(fd: OwnedFd, offset: u64, len: u64, writable: bool) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let bytes = usize::try_from(len).map_err(|_| Errno::ENOMEM)?;
        // Mapping it first has the system check kind, rights and length of the file.
        let mapping = Mapping::shared(fd, offset, bytes, writable)?;
        Ok(match mapping.into_unsealed_fd() {
            Ok(fd) => {
                let backing = Backing::File(FileWindow::new(fd, offset));
                Self(Arc::new(Object { stable: ptr::null_mut(), len, writable, backing }))
            }
            Err(mapping) => Self::exactly(mapping, len, writable),
        })
    }

    /// Takes all of a file, however long it is at each access, by system calls.
    #[cfg(target_os = "linux")]
    pub(crate) fn whole_file(fd: OwnedFd) -> Self {
        let backing = Backing::File(FileWindow::new(fd, 0));
        Self(Arc::new(Object { stable: ptr::null_mut(), len: i64::MAX as u64, writable: true, backing }))
    }

    /// Takes the memory of another process (`/proc/PID/mem`), from its address 0 on.
    #[cfg(target_os = "linux")]
    pub(crate) fn address_space(fd: OwnedFd) -> Self {
        let backing = Backing::File(FileWindow::unbounded(fd));
        Self(Arc::new(Object { stable: ptr::null_mut(), len: crate::TASK_SIZE, writable: true, backing }))
    }

    /// Makes memory that can be mapped and never reached: every access is `EFAULT`.
    #[cfg(target_os = "linux")]
    pub(crate) fn unreachable(len: u64) -> Self {
        let backing = Backing::External(Arc::new(crate::external::Nothing));
        Self(Arc::new(Object { stable: ptr::null_mut(), len, writable: true, backing }))
    }

    /// Borrows memory from `source`; its length is what the source says now, and 0 when it says nothing.
    pub fn external(source: Arc<dyn ExternalMemory>) -> Self {
        let (ptr, len) = match source.resolve() {
            Some(found) => {
                source.leave();
                found
            }
            None => (ptr::null_mut(), 0),
        };
        let stable = if source.stable() { ptr } else { ptr::null_mut() };
        let backing = Backing::External(source);
        Self(Arc::new(Object { stable, len: len as u64, writable: true, backing }))
    }

    fn mapped(mapping: Mapping, len: u64, writable: bool) -> Self {
        Self::exactly(mapping, len.next_multiple_of(PAGE_SIZE), writable)
    }

    fn exactly(mapping: Mapping, len: u64, writable: bool) -> Self {
        let stable = mapping.ptr();
        Self(Arc::new(Object { stable, len, writable, backing: Backing::Mapping(mapping) }))
    }

    /// Returns the length in bytes. Borrowed memory that shrank keeps its first length here and answers
    /// `EFAULT` beyond its present end.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Tells whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Tells whether the address is fixed for life and valid on every thread.
    pub fn is_stable(&self) -> bool {
        !self.0.stable.is_null()
    }

    /// Returns the fixed address, for the I/O page tables; it is valid while a handle exists.
    pub fn stable_ptr(&self) -> Option<*mut u8> {
        self.is_stable().then_some(self.0.stable)
    }

    /// Tells whether writing is possible at all (a descriptor may be mapped read-only).
    pub fn is_writable(&self) -> bool {
        self.0.writable
    }

    /// Returns the descriptor that other processes can map, when there is one.
    #[cfg(target_os = "linux")]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0.backing {
            Backing::Mapping(mapping) => mapping.fd(),
            Backing::File(file) => Some(file.fd()),
            Backing::External(_) => None,
        }
    }

    /// Returns where the memory starts in the file behind its descriptor; 0 where there is none.
    #[cfg(target_os = "linux")]
    pub fn fd_offset(&self) -> u64 {
        match &self.0.backing {
            Backing::Mapping(mapping) => mapping.offset(),
            Backing::File(file) => file.offset(),
            Backing::External(_) => 0,
        }
    }

    /// Returns the file behind memory that is reached by system calls.
    #[cfg(target_os = "linux")]
    #[inline]
    fn file(&self) -> Option<&FileWindow> {
        if !self.0.stable.is_null() {
            return None;
        }
        match &self.0.backing {
            Backing::File(file) => Some(file),
            _ => None,
        }
    }

    /// Checks a range of memory that is reached by system calls: `EFAULT` outside, or not writable.
    #[cfg(target_os = "linux")]
    fn check(&self, offset: u64, len: usize, write: bool) -> Result<(), Errno> {
        let end = offset.checked_add(len as u64).ok_or(Errno::EFAULT)?;
        if end > self.0.len || (write && !self.0.writable) { Err(Errno::EFAULT) } else { Ok(()) }
    }

    /// Puts the memory's pages at another address of this process, too, in place of what lies there.
    ///
    /// # Safety
    /// `at` is the start of [`len`](Self::len) bytes whose owner wants their content gone, and gives the pages back
    /// to the system by unmapping or replacing them.
    ///
    /// # Errors
    /// `EOPNOTSUPP` no descriptor, one that others could cut, or one that cannot be written; `EINVAL` the memory or
    /// `at` is not made of whole pages of the host; `ENOMEM`, and then `at` may be left without any page.
    #[cfg(target_os = "linux")]
    pub unsafe fn map_over(&self, at: *mut u8) -> Result<(), Errno> {
        let Backing::Mapping(mapping) = &self.0.backing else { return Err(Errno::EOPNOTSUPP) };
        if !self.0.writable || mapping.fd().is_none() {
            return Err(Errno::EOPNOTSUPP);
        }
        let page = rustix::param::page_size();
        if !at.addr().is_multiple_of(page) || !self.0.len.is_multiple_of(page as u64) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller's promise; the mapping is as long as the memory.
        unsafe { mapping.map_over(at) }
    }

    /// Tells whether both handles name the same bytes.
    pub fn same_object(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns a number that is the same for two handles exactly when they name the same bytes.
    pub fn object_id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Returns how many handles to these bytes exist, this one included.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Tells at which host address `len` bytes at `offset` lie now; a diagnostic, not to be dereferenced.
    ///
    /// # Errors
    /// `EFAULT` out of range, detached, shrunk, or asked on the wrong thread.
    pub fn locate(&self, offset: u64, len: u64) -> Result<u64, Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
        Ok(self.reach(offset, len)?.ptr.addr() as u64)
    }

    /// Returns the address of `len` bytes at `offset`, valid until the answer is dropped.
    ///
    /// # Errors
    /// `EFAULT` out of range, detached, shrunk, or asked on the wrong thread.
    #[inline]
    fn reach(&self, offset: u64, len: usize) -> Result<Reach<'_>, Errno> {
        let object = &*self.0;
        let end = offset.checked_add(len as u64).ok_or(Errno::EFAULT)?;
        if end > object.len {
            return Err(Errno::EFAULT);
        }
        if object.stable.is_null() {
            return self.resolve(offset, end);
        }
        // SAFETY: `offset` is at most the length of the memory at `stable`.
        Ok(Reach { ptr: unsafe { object.stable.add(offset as usize) }, source: None })
    }

    #[cold]
    fn resolve(&self, offset: u64, end: u64) -> Result<Reach<'_>, Errno> {
        let Backing::External(source) = &self.0.backing else { return Err(Errno::EFAULT) };
        let (ptr, len) = source.resolve().ok_or(Errno::EFAULT)?;
        let mut reach = Reach { ptr, source: Some(&**source) };
        if end > len as u64 {
            return Err(Errno::EFAULT);
        }
        // SAFETY: `offset` is at most the length that the source answered for.
        reach.ptr = unsafe { ptr.add(offset as usize) };
        Ok(reach)
    }

    /// As [`reach`](Self::reach), for writing: `EFAULT` too when mapped read-only.
    #[inline]
    fn reach_mut(&self, offset: u64, len: usize) -> Result<Reach<'_>, Errno> {
        if !self.0.writable {
            return Err(Errno::EFAULT);
        }
        self.reach(offset, len)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.0.backing {
            Backing::Mapping(_) => "mapping",
            #[cfg(target_os = "linux")]
            Backing::File(_) => "file",
            Backing::External(_) => "external",
        };
        f.debug_struct("Memory").field("source", &source).field("len", &self.0.len).finish_non_exhaustive()
    }
}

/// Rounds a length up to whole huge pages.
fn whole_huge_pages(len: u64, page: u64) -> Result<usize, Errno> {
    if len == 0 || !page.is_power_of_two() || page <= PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let whole = len.checked_next_multiple_of(page).ok_or(Errno::ENOMEM)?;
    usize::try_from(whole).ok().filter(|len| isize::try_from(*len).is_ok()).ok_or(Errno::ENOMEM)
}

/// Rounds up to whole pages of the host, as a length the address space could hold.
fn whole_pages(len: u64) -> Result<usize, Errno> {
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let rounded = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::ENOMEM)?;
    usize::try_from(rounded).ok().filter(|len| isize::try_from(*len).is_ok()).ok_or(Errno::ENOMEM)
}
