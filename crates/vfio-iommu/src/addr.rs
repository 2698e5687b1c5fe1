//! Addresses as a device sees them.

use std::fmt;

/// Names a byte in an I/O address space; all 64 bits count.
pub type Iova = u64;

/// Spans the addresses from `start` to `last`, both included, so that the whole 64-bit space has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IovaRange {
    start: Iova,
    last: Iova,
}

impl IovaRange {
    /// Spans all 64 bits.
    pub const ALL: Self = Self { start: 0, last: u64::MAX };

    /// Names `start..=last`; `None` when `last` lies before `start`.
    #[must_use]
    pub const fn new(start: Iova, last: Iova) -> Option<Self> {
        if start <= last { Some(Self { start, last }) } else { None }
    }

    /// Names `size` bytes from `start` on; `None` when the range is empty or wraps.
    #[must_use]
    pub const fn sized(start: Iova, size: u64) -> Option<Self> {
        if size == 0 {
            return None;
        }
        match start.checked_add(size - 1) {
            Some(last) => Some(Self { start, last }),
            None => None,
        }
    }

    /// Returns the first address.
    #[must_use]
    pub const fn start(self) -> Iova {
        self.start
    }

    /// Returns the last address.
    #[must_use]
    pub const fn last(self) -> Iova {
        self.last
    }

    /// Returns the number of bytes, and 0 for the whole space, which has 2^64.
    #[must_use]
    pub const fn size(self) -> u64 {
        (self.last - self.start).wrapping_add(1)
    }

    /// Tells whether `iova` lies inside.
    #[must_use]
    pub const fn contains(self, iova: Iova) -> bool {
        self.start <= iova && iova <= self.last
    }

    /// Tells whether `other` lies inside entirely.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Tells whether the two share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Returns the addresses that both have.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// Tells whether both ends lie on multiples of `unit`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, unit: u64) -> bool {
        self.start & (unit - 1) == 0 && self.last & (unit - 1) == unit - 1
    }
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.start, self.last)
    }
}
