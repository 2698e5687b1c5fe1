//! From the root of a guest's table to a leaf; every table lies in guest memory, which the parent maps.

use vfio_memory::Prot;

use super::format::{Entry, NestedFormat, entry_address};
use super::tlb::Hit;
use crate::ioas::domain::PagingDomain;
use crate::{Access, DmaSpace, FaultReason, Iova, IovaRange};

/// How often the walk starts over where the guest changes an entry under it.
const TRIES: u32 = 64;

/// Why a walk came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// No entry leads there.
    NotPresent,
    /// An entry on the way forbids it.
    Permission,
    /// The table cannot map such an address.
    OutsideTable,
    /// An entry has bits set that must not be, or changes all the time.
    Malformed,
    /// The parent does not map a table, or forbids to note in it.
    Unreachable,
}

impl Stop {
    /// Returns the reason as devices get it.
    pub(super) fn reason(self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::NoMapping,
            Self::Permission => FaultReason::Permission,
            Self::OutsideTable => FaultReason::OutsideWindow,
            Self::Malformed | Self::Unreachable => FaultReason::BrokenTable,
        }
    }
}

/// Finds where `iova` leads. The walk goes down one level each step, so it ends whatever the tables hold.
pub(super) fn walk(
    memory: &PagingDomain,
    format: &NestedFormat,
    iova: Iova,
    access: Access,
) -> Result<Hit, Stop> {
    if !format.covers(iova) {
        return Err(Stop::OutsideTable);
    }
    for _ in 0..TRIES {
        if let Some(found) = attempt(memory, format, iova, access)? {
            return Ok(found);
        }
    }
    Err(Stop::Malformed)
}

/// Walks once; `None` where an entry changed meanwhile.
fn attempt(
    memory: &PagingDomain,
    format: &NestedFormat,
    iova: Iova,
    access: Access,
) -> Result<Option<Hit>, Stop> {
    let mut table = format.root();
    let mut prot = Prot::RW;
    for level in (0..=format.top()).rev() {
        let address = entry_address(table, level, iova);
        let mut bytes = [0; 8];
        let table_memory = memory.table().ok_or(Stop::Unreachable)?;
        table_memory.read(address, &mut bytes).map_err(|_| Stop::Unreachable)?;
        let entry = Entry(u64::from_le_bytes(bytes));
        if !entry.is_present() {
            return Err(Stop::NotPresent);
        }
        if !entry.is_sound(level) {
            return Err(Stop::Malformed);
        }
        prot &= entry.prot();
        let leaf = entry.is_leaf(level);
        if leaf && !prot.contains(access.prot()) {
            return Err(Stop::Permission);
        }
        let noted = note(memory, format, address, entry, leaf && access == Access::Write)?;
        let Some(noted) = noted else { return Ok(None) };
        if leaf {
            let dirty = !format.accessed_dirty() || noted.0 & Entry::DIRTY != 0;
            return Ok(Some(Hit { level, page: entry.address(), prot, dirty }));
        }
        table = entry.address();
    }
    Err(Stop::Malformed) // not reached: an entry of level 0 is a leaf
}

/// Sets the bits that say what was done; `None` where the entry is not what it was.
fn note(
    memory: &PagingDomain,
    format: &NestedFormat,
    address: u64,
    entry: Entry,
    written: bool,
) -> Result<Option<Entry>, Stop> {
    let bits = Entry::ACCESSED | if written { Entry::DIRTY } else { 0 };
    let noted = Entry(entry.0 | bits);
    if !format.accessed_dirty() || noted == entry {
        return Ok(Some(entry));
    }
    let table = memory.table().ok_or(Stop::Unreachable)?;
    let before = table.compare_exchange_u64(address, entry.0.to_le(), noted.0.to_le());
    let before = before.map_err(|_| Stop::Unreachable)?;
    if let (Some(dirty), Some(range)) = (memory.dirty(), IovaRange::sized(address, 8)) {
        dirty.mark(range); // the guest's memory was written, if only by the IOMMU
    }
    Ok((u64::from_le(before) == entry.0).then_some(noted))
}
