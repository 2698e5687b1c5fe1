//! Regions mapped into a program.

use std::fmt;
use std::sync::Arc;

use vfio_memory::Memory;
use vfio_uapi::Errno;

/// Answers the accesses of a program to a mapped region that no memory lies behind.
pub trait MappedRegion: Send + Sync {
    /// Reads `into.len()` bytes (1, 2, 4 or 8, naturally aligned) at `offset` into the region.
    ///
    /// # Errors
    /// `EFAULT` where a program gets `SIGBUS`.
    fn load(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// Writes `from.len()` bytes (1, 2, 4 or 8, naturally aligned) at `offset` into the region.
    ///
    /// # Errors
    /// `EFAULT` where a program gets `SIGBUS`.
    fn store(&self, offset: u64, from: &[u8]) -> Result<(), Errno>;
}

/// Places memory into a region.
#[derive(Debug, Clone)]
pub struct RegionMemory {
    /// First byte within the region.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Where they are.
    pub memory: Memory,
    /// First byte within the memory.
    pub memory_offset: u64,
}

impl RegionMemory {
    /// Finds a range of the region in the memory, if it lies there as a whole.
    #[must_use]
    pub fn find(&self, offset: u64, len: u64) -> Option<u64> {
        let within = offset.checked_sub(self.offset)?;
        let end = within.checked_add(len)?;
        (end <= self.len).then(|| self.memory_offset + within)
    }
}

/// Stands for a part of a region in a program's address space.
#[derive(Clone)]
pub enum RegionMapping {
    /// Plain memory: the program reaches it without anybody's help.
    Memory {
        /// Where the bytes are.
        memory: Memory,
        /// First byte of the mapping within it.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Every access is answered by the device.
    Trapped {
        /// Who answers.
        region: Arc<dyn MappedRegion>,
        /// First byte of the mapping within the region.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

impl RegionMapping {
    /// Returns the bytes mapped.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Memory { len, .. } | Self::Trapped { len, .. } => *len,
        }
    }

    /// Tells whether nothing is mapped.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from the mapping as a load of the program does; one that is not aligned is made of smaller ones.
    ///
    /// # Errors
    /// `EFAULT` outside the mapping, or `SIGBUS` in a program.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.check(at, into.len())?;
        match self {
            Self::Memory { memory, offset, .. } => memory.read(offset + at, into),
            Self::Trapped { region, offset, .. } => {
                let mut done = 0;
                while done < into.len() {
                    let place = offset + at + done as u64;
                    let width = natural_width(place, into.len() - done);
                    region.load(place, &mut into[done..done + width])?;
                    done += width;
                }
                Ok(())
            }
        }
    }

    /// Writes to the mapping as a store of the program does; one that is not aligned is made of smaller ones.
    ///
    /// # Errors
    /// `EFAULT` outside the mapping, or `SIGBUS` in a program.
    pub fn write(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        self.check(at, from.len())?;
        match self {
            Self::Memory { memory, offset, .. } => memory.write(offset + at, from),
            Self::Trapped { region, offset, .. } => {
                let mut done = 0;
                while done < from.len() {
                    let place = offset + at + done as u64;
                    let width = natural_width(place, from.len() - done);
                    region.store(place, &from[done..done + width])?;
                    done += width;
                }
                Ok(())
            }
        }
    }

    fn check(&self, at: u64, len: usize) -> Result<(), Errno> {
        let end = at.checked_add(len as u64).ok_or(Errno::EFAULT)?;
        if end > self.len() { Err(Errno::EFAULT) } else { Ok(()) }
    }
}

/// Returns the widest access (8, 4, 2 or 1 bytes) that is aligned at `offset` and fits `left`.
pub(crate) fn natural_width(offset: u64, left: usize) -> usize {
    [8, 4, 2].into_iter().find(|width| left >= *width && offset.is_multiple_of(*width as u64)).unwrap_or(1)
}

impl fmt::Debug for RegionMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Memory { .. } => "Memory",
            Self::Trapped { .. } => "Trapped",
        };
        f.debug_struct(kind).field("len", &self.len()).finish_non_exhaustive()
    }
}
