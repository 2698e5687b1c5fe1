//! The mappings of a domain in order of address.

use std::collections::BTreeMap;

use super::mapping::Mapping;
use crate::{Iova, IovaRange};

/// Finds mappings by address; they never overlap, so ordering them by start orders them by end as well.
#[derive(Default)]
pub(super) struct Mappings(BTreeMap<Iova, Mapping>);

impl Mappings {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Finds a mapping that shares an address with `range`, the highest if there are several.
    pub(super) fn overlapping(&self, range: IovaRange) -> Option<&Mapping> {
        self.at_or_below(range.last()).filter(|mapping| mapping.range.last() >= range.start())
    }

    /// As [`overlapping`](Self::overlapping), for changing it.
    pub(super) fn overlapping_mut(&mut self, range: IovaRange) -> Option<&mut Mapping> {
        let (_, mapping) = self.0.range_mut(..=range.last()).next_back()?;
        (mapping.range.last() >= range.start()).then_some(mapping)
    }

    /// Finds the mapping around an address.
    pub(super) fn at(&self, iova: Iova) -> Option<&Mapping> {
        self.at_or_below(iova).filter(|mapping| mapping.range.contains(iova))
    }

    /// As [`at`](Self::at), for changing it.
    pub(super) fn at_mut(&mut self, iova: Iova) -> Option<&mut Mapping> {
        let (_, mapping) = self.0.range_mut(..=iova).next_back()?;
        mapping.range.contains(iova).then_some(mapping)
    }

    /// Finds the lowest mapping that shares an address with `range`.
    pub(super) fn first_in(&self, range: IovaRange) -> Option<&Mapping> {
        let next = || self.0.range(range.start()..=range.last()).next().map(|(_, mapping)| mapping);
        self.at(range.start()).or_else(next)
    }

    /// Finds the last mapping that starts at or below an address.
    pub(super) fn at_or_below(&self, iova: Iova) -> Option<&Mapping> {
        self.0.range(..=iova).next_back().map(|(_, mapping)| mapping)
    }

    /// Finds the first mapping that starts above an address.
    pub(super) fn above(&self, iova: Iova) -> Option<&Mapping> {
        self.0.range(iova.checked_add(1)?..).next().map(|(_, mapping)| mapping)
    }

    /// Tells whether `range` begins or ends inside a mapping that it does not hold entirely.
    pub(super) fn cut_by(&self, range: IovaRange) -> bool {
        self.at(range.start()).is_some_and(|mapping| mapping.range.start() != range.start())
            || self.at(range.last()).is_some_and(|mapping| mapping.range.last() != range.last())
    }

    pub(super) fn insert(&mut self, mapping: Mapping) {
        let before = self.0.insert(mapping.range.start(), mapping);
        debug_assert!(before.is_none(), "mappings do not overlap");
    }

    pub(super) fn remove(&mut self, start: Iova) -> Option<Mapping> {
        self.0.remove(&start)
    }

    /// Lists the mappings that start inside `range`, for changing them.
    pub(super) fn starting_in(&mut self, range: IovaRange) -> impl Iterator<Item = &mut Mapping> {
        self.0.range_mut(range.start()..=range.last()).map(|(_, mapping)| mapping)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mapping> {
        self.0.values_mut()
    }
}
