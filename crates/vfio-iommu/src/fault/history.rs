//! What was mapped and unmapped lately.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::{Iova, IovaRange};

/// Changes that are remembered unless asked otherwise.
const CAPACITY: usize = 1024;

/// Tells mapping from unmapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapChange {
    /// The range was mapped.
    Mapped,
    /// The range was unmapped.
    Unmapped,
}

/// Notes one change of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapEvent {
    /// What happened.
    pub change: MapChange,
    /// To which addresses.
    pub range: IovaRange,
    /// How many changes of the space came later.
    pub ago: u64,
}

/// Remembers the latest changes of an address space.
#[derive(Debug)]
pub struct MapHistory {
    changes: Mutex<VecDeque<(MapChange, IovaRange)>>,
    capacity: usize,
}

impl Default for MapHistory {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl MapHistory {
    /// Remembers at most `capacity` changes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { changes: Mutex::default(), capacity }
    }

    /// Notes that `range` was mapped or unmapped.
    pub fn record(&self, change: MapChange, range: IovaRange) {
        let mut changes = self.changes.lock();
        while changes.len() >= self.capacity.max(1) {
            changes.pop_front();
        }
        if self.capacity > 0 {
            changes.push_back((change, range));
        }
    }

    /// Finds the last change that covered `iova`.
    #[must_use]
    pub fn last_covering(&self, iova: Iova) -> Option<MapEvent> {
        let changes = self.changes.lock();
        let (ago, (change, range)) =
            changes.iter().rev().enumerate().find(|(_, (_, range))| range.contains(iova))?;
        Some(MapEvent { change: *change, range: *range, ago: ago as u64 })
    }
}
