//! Pages from `mmap`, private or shared through a descriptor.

use std::os::fd::OwnedFd;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use vfio_uapi::Errno;

/// Owns one `mmap` and the descriptor it came from.
pub(crate) struct Mapping {
    ptr: *mut u8,
    len: usize,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux maps descriptors"))]
    fd: Option<OwnedFd>,
    /// Where the mapping starts in the file.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux maps descriptors"))]
    offset: u64,
}

impl Mapping {
    /// Maps `len` bytes (not zero, whole pages) of private anonymous memory, zeroed.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn anonymous(len: usize) -> Result<Self, Errno> {
        // SAFETY: a fresh mapping at an address the system picks touches nothing of ours.
        let ptr = unsafe {
            mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let ptr = ptr.map_err(|_| Errno::ENOMEM)?.cast();
        Ok(Self { ptr, len, fd: None, offset: 0 })
    }

    /// Returns the first byte's address.
    pub(crate) fn ptr(&self) -> *mut u8 {
        self.ptr
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours alone, and nobody reaches it after the last owner is gone.
        // A failure would mean it is gone already; there is nobody to tell.
        let _ = unsafe { munmap(self.ptr.cast(), self.len) };
    }
}

#[cfg(target_os = "linux")]
mod shared {
    //! Descriptors: memfd and foreign ones.

    use std::ffi::CString;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::ptr;

    use rustix::fs::{
        MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
    };
    use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
    use vfio_uapi::Errno;

    use super::Mapping;

    /// Where the flags of `mmap` and `memfd_create` hold the logarithm of a huge page's size.
    const HUGE_SHIFT: u32 = 26;

    impl Mapping {
        /// Makes a memfd of `len` bytes whose size is sealed, and maps it.
        ///
        /// The seal is what makes it safe to hand the descriptor to another process: without it a peer
        /// could cut the file and turn our next access into SIGBUS.
        ///
        /// # Errors
        /// `EINVAL` name with a NUL or too long; `EMFILE`, `ENFILE`, `ENOMEM` from the system.
        pub(crate) fn memfd(name: &str, len: usize) -> Result<Self, Errno> {
            Self::sealed(name, len, MemfdFlags::empty())
        }

        /// Makes such a memfd of huge pages of `1 << shift` bytes, of which `len` is a multiple.
        ///
        /// # Errors
        /// As [`memfd`](Self::memfd); `EINVAL` no such pages on this system; `ENOMEM` too few are in reserve.
        pub(crate) fn huge_memfd(name: &str, len: usize, shift: u32) -> Result<Self, Errno> {
            let size = MemfdFlags::from_bits_retain(shift << HUGE_SHIFT);
            Self::sealed(name, len, MemfdFlags::HUGETLB | size).map_err(no_such_page)
        }

        /// Maps `len` bytes of private memory in huge pages of `1 << shift` bytes, of which `len` is a multiple.
        ///
        /// They are set aside here: a page that is missing later would kill the process.
        ///
        /// # Errors
        /// `EINVAL` no such pages on this system; `ENOMEM` too few are in reserve.
        pub(crate) fn huge(len: usize, shift: u32) -> Result<Self, Errno> {
            let size = MapFlags::from_bits_retain(shift << HUGE_SHIFT);
            let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | size;
            // SAFETY: a fresh mapping at an address the system picks touches nothing of ours.
            let ptr =
                unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
            let ptr = ptr.map_err(errno).map_err(no_such_page)?.cast();
            Ok(Self { ptr, len, fd: None, offset: 0 })
        }

        fn sealed(name: &str, len: usize, kind: MemfdFlags) -> Result<Self, Errno> {
            let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
            let fd =
                memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | kind).map_err(errno)?;
            let size = u64::try_from(len).map_err(|_| Errno::ENOMEM)?;
            ftruncate(&fd, size).map_err(|_| Errno::ENOMEM)?;
            fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(errno)?;
            Self::shared(fd, 0, len, true)
        }

        /// Maps `len` bytes of `fd` from `offset` on, shared.
        ///
        /// # Errors
        /// `EINVAL` the file ends before the range; `EACCES`, `ENODEV`, `ENOMEM` from `mmap`.
        pub(crate) fn shared(fd: OwnedFd, offset: u64, len: usize, writable: bool) -> Result<Self, Errno> {
            let stat = fstat(&fd).map_err(errno)?;
            let end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len)).ok_or(Errno::EINVAL)?;
            if u64::try_from(stat.st_size).unwrap_or(0) < end {
                return Err(Errno::EINVAL);
            }
            let prot = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
            // SAFETY: a fresh mapping at an address the system picks touches nothing of ours.
            let ptr = unsafe { mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, &fd, offset) };
            let ptr = ptr.map_err(errno)?.cast();
            Ok(Self { ptr, len, fd: Some(fd), offset })
        }

        /// Puts the same pages at `at`, too, in place of what lies there.
        ///
        /// They stay there until somebody unmaps them; the system keeps them as long.
        ///
        /// # Safety
        /// `at` begins whole pages of the host, as many as this mapping has, whose owner wants their content gone
        /// and gives them back by unmapping or replacing them.
        ///
        /// # Errors
        /// `EOPNOTSUPP` there is no descriptor behind the mapping; `ENOMEM` and others from `mmap`.
        pub(crate) unsafe fn map_over(&self, at: *mut u8) -> Result<(), Errno> {
            let fd = self.fd.as_ref().ok_or(Errno::EOPNOTSUPP)?;
            let prot = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the caller's promise.
            let placed = unsafe {
                mmap(at.cast(), self.len, prot, MapFlags::SHARED | MapFlags::FIXED, fd, self.offset)
            };
            placed.map(drop).map_err(errno)
        }

        /// Returns the descriptor behind the mapping.
        pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
            self.fd.as_ref().map(AsFd::as_fd)
        }

        /// Returns where the mapping starts in the file behind it.
        pub(crate) fn offset(&self) -> u64 {
            self.offset
        }

        /// Gives the descriptor back, and the mapping up, where a peer that holds it too could cut the file.
        ///
        /// # Errors
        /// The mapping itself, where nobody can.
        pub(crate) fn into_unsealed_fd(mut self) -> Result<OwnedFd, Self> {
            let sealed =
                |fd: &OwnedFd| fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
            match self.fd.take_if(|fd| !sealed(fd)) {
                Some(fd) => Ok(fd),
                None => Err(self),
            }
        }
    }

    /// A size of huge pages that the system lacks is not a thing that is missing for now.
    fn no_such_page(error: Errno) -> Errno {
        match error {
            Errno::ENOENT | Errno::ENODEV => Errno::EINVAL,
            other => other,
        }
    }

    /// Translates a system error; the numbers are Linux's own here.
    fn errno(error: rustix::io::Errno) -> Errno {
        Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
    }
}
