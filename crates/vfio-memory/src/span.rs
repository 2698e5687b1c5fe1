//! Pieces of memory objects: what page lookups hand out.

use std::fmt;

use vfio_uapi::Errno;

use crate::Memory;

/// Names a run of bytes of one memory object.
#[derive(Debug, Clone)]
pub struct HostSpan {
    /// The object.
    pub memory: Memory,
    /// First byte inside the object.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

impl HostSpan {
    /// Appends `next` when it continues this span in the same object; tells whether it did.
    pub fn merge(&mut self, next: &Self) -> bool {
        let continues = self.memory.same_object(&next.memory) && self.offset + self.len == next.offset;
        if continues {
            self.len += next.len;
        }
        continues
    }
}

/// Reports a page lookup that stopped before its end.
#[derive(Debug, Clone)]
pub struct PinError {
    /// Why it stopped: `EFAULT` no area, or not with the access wanted; `ENOMEM` out of room for spans.
    pub errno: Errno,
    /// Bytes that were found before.
    pub done: u64,
    /// Where those bytes lie.
    pub spans: Vec<HostSpan>,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {:#x} bytes", self.errno.name(), self.done)
    }
}

impl std::error::Error for PinError {}
