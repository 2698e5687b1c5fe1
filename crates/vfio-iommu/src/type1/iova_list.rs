//! The IOVAs that can be mapped: apertures of the IOMMUs less what their groups reserve.

use crate::IovaRange;

/// Lists the usable ranges in order; empty means that nothing restricts them.
///
/// The list fills when the first hardware group joins and never becomes empty again: after the last one has
/// left it is one range of all 64 bits, which `VFIO_IOMMU_GET_INFO` then reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IovaList(Vec<IovaRange>);

impl IovaList {
    /// Starts over with what an aperture allows.
    pub(super) fn of(aperture: IovaRange) -> Self {
        Self(vec![aperture])
    }

    pub(super) fn ranges(&self) -> &[IovaRange] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the range from the first usable address to the last.
    pub(super) fn hull(&self) -> Option<IovaRange> {
        IovaRange::new(self.0.first()?.start(), self.0.last()?.last())
    }

    /// Tells whether a mapping of `range` is possible: inside one entry, or nothing is restricted.
    pub(super) fn allows(&self, range: IovaRange) -> bool {
        self.is_empty() || self.0.iter().any(|usable| usable.covers(range))
    }

    /// Keeps what lies inside an aperture; `None` when nothing does.
    pub(super) fn clipped(&self, aperture: IovaRange) -> Option<Self> {
        if self.is_empty() {
            return Some(Self::of(aperture));
        }
        let kept: Vec<_> = self.0.iter().filter_map(|usable| usable.intersect(aperture)).collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// Takes reserved ranges out; `None` when nothing is left.
    pub(super) fn without(&self, reserved: impl IntoIterator<Item = IovaRange>) -> Option<Self> {
        let mut usable = self.0.clone();
        for hole in reserved {
            usable = usable.into_iter().flat_map(|range| cut(range, hole)).collect();
        }
        (!usable.is_empty()).then_some(Self(usable))
    }
}

/// Returns what is left of `range` below and above `hole`.
fn cut(range: IovaRange, hole: IovaRange) -> impl Iterator<Item = IovaRange> {
    let apart = (!range.overlaps(hole)).then_some(range);
    let below = hole.start().checked_sub(1).filter(|_| apart.is_none());
    let above = hole.last().checked_add(1).filter(|_| apart.is_none());
    let below = below.and_then(|last| IovaRange::new(range.start(), last));
    let above = above.and_then(|start| IovaRange::new(start, range.last()));
    apart.into_iter().chain(below).chain(above)
}
