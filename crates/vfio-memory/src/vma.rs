//! One area of an address space.

use crate::{HostSpan, Memory, Prot};

/// Describes what lies at a run of addresses; the start is the key it is stored under.
#[derive(Debug, Clone)]
pub(crate) struct Vma {
    pub(crate) len: u64,
    pub(crate) memory: Memory,
    pub(crate) offset: u64,
    pub(crate) prot: Prot,
    pub(crate) locked: bool,
    /// Base-two logarithm of the pages behind it: more than the system's where they are huge.
    pub(crate) page_shift: u32,
}

impl Vma {
    /// Returns the piece of this area that begins `skip` bytes in and is `len` bytes long.
    pub(crate) fn piece(&self, skip: u64, len: u64) -> Self {
        Self { len, offset: self.offset + skip, ..self.clone() }
    }

    /// Names the memory behind `len` bytes, `skip` bytes in.
    pub(crate) fn span(&self, skip: u64, len: u64) -> HostSpan {
        HostSpan { memory: self.memory.clone(), offset: self.offset + skip, len }
    }
}
