//! What a slot of the table holds: 64 bits, read and written as one.
//!
//! | bits   | name             | meaning                                    |
//! |--------|------------------|--------------------------------------------|
//! | 63     | `TABLE`          | links to a table of the next level         |
//! | 62, 61 | `DIRECT_READ`, … | rights of a direct leaf                    |
//! | 60, 59 |                  | rights of an indirect leaf                 |
//! | 58     | `BUCKET`         | links to a bucket                          |
//! | 57..55 | level            | of the table linked to                     |
//! | 54     | `DIRECT`         | a leaf that leads to host memory           |
//! | 53     | `INDIRECT`       | a leaf that leads to detachable memory     |
//! | 51..0  | address          | of the node, the host memory, or its owner |
//!
//! A leaf is direct (the address is the host's, of the first byte of what the slot covers; no alignment is
//! asked) or indirect (the address is that of a `Detachable`, asked at each access), with its rights. A
//! `TABLE` carries its own level, so the root can be of any height. Zero is "nothing here". An access that
//! may go straight to host memory has one bit to test.

use vfio_memory::Prot;

/// Slots of a table: 2^9.
pub(super) const FANOUT: usize = 512;
const FANOUT_BITS: u32 = FANOUT.ilog2();
/// The smallest thing that can be mapped.
pub(super) const PAGE_BITS: u32 = 12;
/// The highest level, whose table covers all 64 bits.
pub(super) const TOP_LEVEL: u32 = 5;
/// What the slot above the highest table would cover: everything.
pub(super) const ROOT_BITS: u32 = level_bits(TOP_LEVEL + 1);

const TABLE: u64 = 1 << 63;
const DIRECT_READ: u64 = 1 << 62;
const DIRECT_WRITE: u64 = 1 << 61;
/// How far the rights of indirect leaves lie below those of direct ones.
const INDIRECT_SHIFT: u32 = 2;
const BUCKET: u64 = 1 << 58;
const DIRECT: u64 = 1 << 54;
const INDIRECT: u64 = 1 << 53;
const LEVEL_SHIFT: u32 = 55;
const ADDRESS: u64 = (1 << 52) - 1;

/// Returns how many address bits one slot of a table at `level` covers.
#[inline]
pub(super) const fn level_bits(level: u32) -> u32 {
    PAGE_BITS + FANOUT_BITS * level
}

/// Returns the lowest level whose table covers `last`.
pub(super) const fn level_for(last: u64) -> u32 {
    let mut level = 0;
    while level < TOP_LEVEL && last >> level_bits(level) >> FANOUT_BITS != 0 {
        level += 1;
    }
    level
}

/// Holds the content of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    pub(super) const EMPTY: Self = Self(0);

    /// Makes a leaf of host memory; `None` when the address has more than 52 bits.
    pub(super) fn direct(host: u64, prot: Prot) -> Option<Self> {
        (host <= ADDRESS).then_some(Self(DIRECT | rights(prot) | host))
    }

    /// As [`direct`](Self::direct), for a page, whose last byte must have an address as well.
    #[inline(always)]
    pub(super) fn direct_page(host: u64, prot: Prot) -> Option<Self> {
        (host <= ADDRESS - ((1 << PAGE_BITS) - 1)).then_some(Self(DIRECT | rights(prot) | host))
    }

    /// Makes a leaf of detachable memory; `None` when the address has more than 52 bits.
    pub(super) fn indirect(detachable: u64, prot: Prot) -> Option<Self> {
        (detachable <= ADDRESS).then_some(Self(INDIRECT | rights(prot) >> INDIRECT_SHIFT | detachable))
    }

    /// Makes a link to a table; `None` when the address has more than 52 bits.
    pub(super) fn table(address: u64, level: u32) -> Option<Self> {
        (address <= ADDRESS).then_some(Self(TABLE | u64::from(level) << LEVEL_SHIFT | address))
    }

    /// Makes a link to a bucket; `None` when the address has more than 52 bits.
    pub(super) fn bucket(address: u64) -> Option<Self> {
        (address <= ADDRESS).then_some(Self(BUCKET | address))
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) const fn is_table(self) -> bool {
        self.0 & TABLE != 0
    }

    #[inline]
    pub(super) const fn is_bucket(self) -> bool {
        self.0 & BUCKET != 0
    }

    #[inline]
    pub(super) const fn is_direct(self) -> bool {
        self.0 & DIRECT != 0
    }

    #[inline]
    pub(super) const fn is_leaf(self) -> bool {
        self.0 & (DIRECT | INDIRECT) != 0
    }

    /// Tells whether this is a leaf with the right.
    #[inline]
    pub(super) const fn allows(self, need: Need) -> bool {
        self.0 & (need.0 | need.0 >> INDIRECT_SHIFT) != 0
    }

    /// Tells whether this is a leaf of host memory with the right.
    #[inline]
    pub(super) const fn allows_direct(self, need: Need) -> bool {
        self.0 & need.0 != 0
    }

    #[inline]
    pub(super) const fn address(self) -> u64 {
        self.0 & ADDRESS
    }

    /// Returns the level of the table this links to.
    #[inline]
    pub(super) const fn level(self) -> u32 {
        (self.0 >> LEVEL_SHIFT) as u32 & 7
    }

    /// Returns the leaf for what lies `by` bytes further on in the same mapping.
    #[inline]
    pub(super) const fn advance(self, by: u64) -> Self {
        if self.is_direct() { Self(self.0 + by) } else { self }
    }
}

/// The right that an access needs, as a mask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need(u64);

impl Need {
    pub(super) const READ: Self = Self(DIRECT_READ);
    pub(super) const WRITE: Self = Self(DIRECT_WRITE);
}

#[inline(always)]
fn rights(prot: Prot) -> u64 {
    let read = if prot.contains(Prot::READ) { DIRECT_READ } else { 0 };
    let write = if prot.contains(Prot::WRITE) { DIRECT_WRITE } else { 0 };
    read | write
}
