//! The words for a refusal: what, why, what is near, what changed last, what to do.

use std::fmt;

use super::{FaultContext, FaultRecord, MapChange, MapEvent};
use crate::{Access, DmaFault, FaultReason, Iova, IovaRange};

impl FaultRecord {
    /// Tells the whole story in one paragraph.
    ///
    /// ```text
    /// 0000:06:0d.0: DMA write of 0x40 bytes at 0x100000 refused: nothing is mapped there. The nearest mapping
    /// below, 0x0..=0xfffff, ends 0x1 bytes before it; there is none above. The address was never mapped, as
    /// far as is remembered. Map it for writing before the device uses it.
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for FaultRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.device, self.fault)?;
        if concerns_mappings(self.fault.reason) {
            write!(f, " {}", Nearest(self.fault.iova, &self.context))?;
            write!(f, " {}", LastChange(self.context.last_change))?;
        }
        write!(f, " {}.", remedy(self.fault))
    }
}

/// Tells whether the mappings around the address have anything to do with the reason.
fn concerns_mappings(reason: FaultReason) -> bool {
    matches!(
        reason,
        FaultReason::NoMapping | FaultReason::Permission | FaultReason::OutsideWindow | FaultReason::Detached
    )
}

struct Nearest<'a>(Iova, &'a FaultContext);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(iova, context) = self;
        match (context.below, context.above) {
            (Some(inside), _) if inside.contains(*iova) => write!(f, "It lies in the mapping {inside}."),
            (None, None) => f.write_str("Nothing at all is mapped."),
            (below, above) => {
                match below {
                    Some(range) => {
                        write!(f, "The nearest mapping below, {range}, ends {}", Gap(range, *iova))?
                    }
                    None => f.write_str("There is no mapping below")?,
                }
                match above {
                    Some(range) => write!(f, "; the nearest above, {range}, begins {}.", Gap(range, *iova)),
                    None => f.write_str("; there is none above."),
                }
            }
        }
    }
}

/// The distance from a mapping to an address outside it.
struct Gap(IovaRange, Iova);

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(range, iova) = self;
        if range.last() < *iova {
            write!(f, "{:#x} bytes before it", iova - range.last())
        } else {
            write!(f, "{:#x} bytes after it", range.start().saturating_sub(*iova))
        }
    }
}

struct LastChange(Option<MapEvent>);

impl fmt::Display for LastChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(MapEvent { change, range, ago }) = self.0 else {
            return f.write_str("The address was never mapped, as far as is remembered.");
        };
        let verb = match change {
            MapChange::Mapped => "mapped",
            MapChange::Unmapped => "unmapped",
        };
        write!(f, "The address was last {verb} with {range}, ")?;
        match ago {
            0 => f.write_str("the latest change of the space."),
            1 => f.write_str("one change ago."),
            more => write!(f, "{more} changes ago."),
        }
    }
}

fn remedy(fault: DmaFault) -> &'static str {
    match (fault.reason, fault.access) {
        (FaultReason::NoMapping, Access::Read) => "Map it for reading before the device uses it",
        (FaultReason::NoMapping, Access::Write) => "Map it for writing before the device uses it",
        (FaultReason::Permission, Access::Read) => "Map it with the read flag",
        (FaultReason::Permission, Access::Write) => "Map it with the write flag",
        (FaultReason::OutsideWindow, _) => "Use an address inside a window, or create one that covers it",
        (FaultReason::Detached, _) => {
            "Keep the buffer attached while it is mapped, and reach it from its own thread only"
        }
        (FaultReason::Misaligned, _) => "Use an address that is a multiple of the word's size",
        (FaultReason::BusMasterOff, _) => "Set the bus master bit (0x4) of the device's PCI command register",
        (FaultReason::NotAttached, _) => "Attach the device's group to a container with an IOMMU set",
        (FaultReason::WouldBlock, _) => "Use the asynchronous form",
        (FaultReason::Frozen, _) => "Unfreeze its endpoint, or reset it and restore what it needs",
        (FaultReason::OutOfMemory, _) => "Split it into smaller ones",
        (FaultReason::PageRequested, _) => "try again when the request is answered, or use the promise form",
        (FaultReason::BrokenTable, _) => {
            "check the entries of the guest's page table, and that its pages are mapped for the parent"
        }
        (FaultReason::Unbacked, _) => "map the guest's memory in the address space of the parent",
    }
}
