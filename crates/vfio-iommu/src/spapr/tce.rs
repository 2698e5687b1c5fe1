//! One translation control entry.

use vfio_memory::Prot;

const READ: u64 = 1;
const WRITE: u64 = 2;

/// Holds one entry in the byte order of the processor: rights in the lowest bits, the page number above the
/// window's page shift. Zero forbids everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tce(u64);

impl Tce {
    /// Allows nothing.
    pub const NONE: Self = Self(0);

    /// Leads to the real address `real`, a multiple of the window's page.
    #[must_use]
    pub const fn new(real: u64, prot: Prot) -> Self {
        let read = if prot.contains(Prot::READ) { READ } else { 0 };
        let write = if prot.contains(Prot::WRITE) { WRITE } else { 0 };
        Self(real | read | write)
    }

    /// Takes an entry as it lies in the table: big endian.
    #[must_use]
    pub const fn from_be(stored: u64) -> Self {
        Self(u64::from_be(stored))
    }

    /// Returns the entry as it lies in the table: big endian.
    #[must_use]
    pub const fn to_be(self) -> u64 {
        self.0.to_be()
    }

    /// Returns the value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the real address of the page.
    #[must_use]
    pub const fn real(self) -> u64 {
        self.0 & !(READ | WRITE)
    }

    /// Returns what the device may do.
    #[must_use]
    pub const fn prot(self) -> Prot {
        Prot::from_bits_truncate((self.0 & (READ | WRITE)) as u8)
    }

    /// Tells whether the device may do anything.
    #[must_use]
    pub const fn allows_any(self) -> bool {
        self.0 & (READ | WRITE) != 0
    }
}
