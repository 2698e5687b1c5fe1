//! The entries of a guest's page table, and what describes one.

use vfio_memory::Prot;
use vfio_uapi::Errno;

use crate::Iova;

/// Bits of an address that one level decides.
const LEVEL_BITS: u32 = 9;
const PAGE_BITS: u32 = 12;
/// The largest leaf is one of the third level: 1 GiB.
const HIGHEST_LEAF: u32 = 2;

/// Describes a page table in the memory of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NestedFormat {
    root: u64,
    levels: u32,
    accessed_dirty: bool,
}

impl NestedFormat {
    /// Describes a table whose topmost page lies at `root`, a guest physical address; `accessed_dirty`: the walk notes in
    /// the entries what was read and written.
    ///
    /// # Errors
    /// `EINVAL` the root is not page aligned or has more than 52 bits, or there are not 3 to 5 levels.
    pub fn new(root: u64, levels: u32, accessed_dirty: bool) -> Result<Self, Errno> {
        if root & !Entry::ADDRESS != 0 || !(3..=5).contains(&levels) {
            return Err(Errno::EINVAL);
        }
        Ok(Self { root, levels, accessed_dirty })
    }

    /// Returns where the topmost page lies.
    pub(super) fn root(&self) -> u64 {
        self.root
    }

    /// Returns the number of the topmost level; 0 is that of 4 KiB pages.
    pub(super) fn top(&self) -> u32 {
        self.levels - 1
    }

    /// Tells whether the walk sets the accessed and dirty bits.
    pub(super) fn accessed_dirty(&self) -> bool {
        self.accessed_dirty
    }

    /// Tells whether the table can map an address at all.
    pub(super) fn covers(&self, iova: Iova) -> bool {
        iova >> (PAGE_BITS + LEVEL_BITS * self.levels) == 0
    }
}

/// Returns the bits of an address that an entry of `level` does not decide.
pub(super) fn level_shift(level: u32) -> u32 {
    PAGE_BITS + LEVEL_BITS * level
}

/// Returns where the entry for `iova` lies in its table at `table`.
pub(super) fn entry_address(table: u64, level: u32, iova: Iova) -> u64 {
    table | ((iova >> level_shift(level)) & 0x1ff) << 3
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    pub(super) const READ: u64 = 1 << 0;
    pub(super) const WRITE: u64 = 1 << 1;
    pub(super) const ACCESSED: u64 = 1 << 5;
    pub(super) const DIRTY: u64 = 1 << 6;
    const LARGE: u64 = 1 << 7;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    /// Bits that must be 0: 2 to 4, 8 to 11 and 63. Those from 52 to 62 belong to the guest.
    const RESERVED: u64 = 1 << 63 | 0xf00 | 0x1c;

    /// Tells whether it leads anywhere.
    pub(super) fn is_present(self) -> bool {
        self.0 & (Self::READ | Self::WRITE) != 0
    }

    /// Tells whether it maps memory rather than leading to a table.
    pub(super) fn is_leaf(self, level: u32) -> bool {
        level == 0 || self.0 & Self::LARGE != 0
    }

    /// Tells whether nothing is set that must not be.
    pub(super) fn is_sound(self, level: u32) -> bool {
        let large = self.0 & Self::LARGE != 0;
        let below = if large && level > 0 { (1_u64 << level_shift(level)) - 1 } else { 0 };
        self.0 & Self::RESERVED == 0
            && !(large && (level == 0 || level > HIGHEST_LEAF))
            && self.address() & below == 0
    }

    /// Returns the guest physical address in it.
    pub(super) fn address(self) -> u64 {
        self.0 & Self::ADDRESS
    }

    /// Returns what it allows.
    pub(super) fn prot(self) -> Prot {
        let mut prot = Prot::empty();
        prot.set(Prot::READ, self.0 & Self::READ != 0);
        prot.set(Prot::WRITE, self.0 & Self::WRITE != 0);
        prot
    }
}
