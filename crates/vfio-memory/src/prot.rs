//! Access rights of an area or a mapping.

use bitflags::bitflags;

bitflags! {
    /// Says what may be done with a range of memory; empty means nothing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Prot: u8 {
        /// Reading is allowed.
        const READ = 1;
        /// Writing is allowed.
        const WRITE = 2;
    }
}

impl Prot {
    /// Allows both reading and writing.
    pub const RW: Self = Self::all();
}
