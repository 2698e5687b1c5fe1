//! The areas of a space in order of address.

use std::collections::BTreeMap;

use vfio_uapi::Errno;

use super::area::Area;
use crate::{Iova, IovaRange};

/// Finds areas by address; they never overlap.
#[derive(Default)]
pub(super) struct Areas(BTreeMap<Iova, Area>);

impl Areas {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Finds the area around an address.
    pub(super) fn at(&self, iova: Iova) -> Option<&Area> {
        self.at_or_below(iova).filter(|area| area.range.contains(iova))
    }

    /// As [`at`](Self::at), for changing it.
    pub(super) fn at_mut(&mut self, iova: Iova) -> Option<&mut Area> {
        let (_, area) = self.0.range_mut(..=iova).next_back()?;
        area.range.contains(iova).then_some(area)
    }

    /// Finds the last area that starts at or below an address.
    pub(super) fn at_or_below(&self, iova: Iova) -> Option<&Area> {
        self.0.range(..=iova).next_back().map(|(_, area)| area)
    }

    /// Finds the first area that starts above an address.
    pub(super) fn above(&self, iova: Iova) -> Option<&Area> {
        self.0.range(iova.checked_add(1)?..).next().map(|(_, area)| area)
    }

    /// Finds the lowest area that shares an address with `range`.
    pub(super) fn first_in(&self, range: IovaRange) -> Option<&Area> {
        let next = || self.0.range(range.start()..=range.last()).next().map(|(_, area)| area);
        self.at(range.start()).or_else(next)
    }

    pub(super) fn insert(&mut self, area: Area) {
        let before = self.0.insert(area.range.start(), area);
        debug_assert!(before.is_none(), "areas do not overlap");
    }

    pub(super) fn remove(&mut self, start: Iova) -> Option<Area> {
        self.0.remove(&start)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Area> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Area> {
        self.0.values_mut()
    }

    /// Visits the areas of a range upwards, each with the part that lies in it.
    ///
    /// # Errors
    /// What `visit` says; `ENOENT` at the first hole, after what lies below it.
    pub(super) fn walk(
        &self,
        range: IovaRange,
        mut visit: impl FnMut(&Area, IovaRange) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut rest = Some(range);
        while let Some(part) = rest {
            let area = self.at(part.start()).ok_or(Errno::ENOENT)?;
            let here = part.intersect(area.range).expect("the area is around its start");
            visit(area, here)?;
            rest = here.last().checked_add(1).and_then(|next| IovaRange::new(next, range.last()));
        }
        Ok(())
    }
}
