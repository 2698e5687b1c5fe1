//! Files that memory was lent from: each mapped once, however many windows of it there are.
//!
//! A client behind a virtual IOMMU lends pages one by one, all of the same file. One mapping and one descriptor for each
//! file keep what a client can take of the process bounded; which parts of it a device may reach is the page table's
//! business.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fstat, fstatfs};
use vfio_memory::{Memory, PAGE_SIZE};
use vfio_uapi::Errno;

use crate::listener::os_errno;

/// File systems in memory, and those on disks of the machine (`statfs(2)`). On others an access may take as long as
/// somebody likes: the client itself, where it wrote the file system.
const PROMPT: [u64; 8] = [
    0x0102_1994, // tmpfs, memfd
    0x9584_58f6, // hugetlbfs
    0x8584_58f6, // ramfs
    0xef53,      // ext2 to ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x794c_7630, // overlayfs
];

/// Files and parts of files that one client may have mapped: each takes a descriptor and a mapping of the process.
const MOST: usize = 512;

/// Names what a window lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FileKey {
    /// A whole file: device and inode, and whether it is mapped for writing.
    Whole(u64, u64, bool),
    /// A part that has a mapping of its own.
    Part(u64),
}

/// Holds the files that windows lie in.
#[derive(Default)]
pub(super) struct Files {
    mapped: HashMap<FileKey, Mapped>,
    parts: u64,
}

struct Mapped {
    memory: Memory,
    windows: usize,
}

/// Memory for a window.
pub(super) struct Place {
    pub(super) memory: Memory,
    /// First byte of the window in the memory.
    pub(super) offset: u64,
    /// To be given back with the window.
    pub(super) key: FileKey,
}

impl Files {
    /// Finds `size` bytes of a file from `offset` on.
    ///
    /// # Errors
    /// `EINVAL` misaligned; `EACCES`, `ENODEV` no file, or none that can be mapped; `EOPNOTSUPP` a file that accesses could
    /// hang on; `EINVAL` it ends before; `ENOSPC` too many; `EACCES`, `ENOMEM` from mapping it.
    pub(super) fn place(
        &mut self,
        fd: OwnedFd,
        offset: u64,
        size: u64,
        writable: bool,
    ) -> Result<Place, Errno> {
        let end = offset.checked_add(size).ok_or(Errno::EINVAL)?;
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let stat = fstat(&fd).map_err(os_errno)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            // The system says what is wrong with it.
            return Memory::from_fd(fd, offset, size, writable).and(Err(Errno::ENODEV));
        }
        if !PROMPT.contains(&(fstatfs(&fd).map_err(os_errno)?.f_type as u64)) {
            return Err(Errno::EOPNOTSUPP);
        }
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        if end > length {
            return Err(Errno::EINVAL);
        }
        let key = FileKey::Whole(stat.st_dev, stat.st_ino, writable);
        if let Some(known) = self.mapped.get_mut(&key).filter(|known| end <= known.memory.len()) {
            known.windows += 1;
            return Ok(Place { memory: known.memory.clone(), offset, key });
        }
        if self.mapped.len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        // One that has grown since keeps its old mapping for the windows that have it.
        if !self.mapped.contains_key(&key) {
            let copy = fd.try_clone().map_err(|_| Errno::EMFILE)?;
            if let Ok(memory) = Memory::from_fd(copy, 0, length, writable) {
                return Ok(self.keep(key, memory, offset));
            }
        }
        // Too large to be mapped as a whole, or grown.
        let memory = Memory::from_fd(fd, offset, size, writable)?;
        self.parts += 1;
        Ok(self.keep(FileKey::Part(self.parts), memory, 0))
    }

    fn keep(&mut self, key: FileKey, memory: Memory, offset: u64) -> Place {
        self.mapped.insert(key, Mapped { memory: memory.clone(), windows: 1 });
        Place { memory, offset, key }
    }

    /// A window of a file is gone.
    pub(super) fn release(&mut self, key: FileKey) {
        if let Some(file) = self.mapped.get_mut(&key) {
            file.windows -= 1;
            if file.windows == 0 {
                self.mapped.remove(&key);
            }
        }
    }

    /// All windows are gone.
    pub(super) fn clear(&mut self) {
        self.mapped.clear();
    }
}
