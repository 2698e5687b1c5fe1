//! The bounded log of refusals.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{FaultContext, FaultRecord};
use crate::DmaFault;

/// Records that are kept unless asked otherwise.
const CAPACITY: usize = 256;

/// Is told of each refusal, on the thread of the access, with no lock held.
pub type FaultListener = Arc<dyn Fn(&FaultRecord) + Send + Sync>;

/// Keeps the latest refusals, counts all of them, and tells a listener.
pub struct FaultLog {
    inner: Mutex<Inner>,
}

struct Inner {
    records: VecDeque<FaultRecord>,
    capacity: usize,
    total: u64,
    listener: Option<FaultListener>,
}

impl Default for FaultLog {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl FaultLog {
    /// Keeps at most `capacity` records.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let inner = Inner { records: VecDeque::new(), capacity, total: 0, listener: None };
        Self { inner: Mutex::new(inner) }
    }

    /// Adds a refusal, forgetting the oldest when full, and tells the listener.
    pub fn record(&self, device: &Arc<str>, fault: DmaFault, context: FaultContext) {
        let (record, listener) = {
            let mut inner = self.inner.lock();
            inner.total += 1;
            let record = FaultRecord { sequence: inner.total, device: Arc::clone(device), fault, context };
            let capacity = inner.capacity;
            inner.records.push_back(record.clone());
            inner.trim(capacity);
            (record, inner.listener.clone())
        }; // released: the listener may look at the log
        if let Some(listener) = listener {
            listener(&record);
        }
    }

    /// Returns the number of refusals since the log was made, kept or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.inner.lock().total
    }

    /// Returns the records that are kept, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<FaultRecord> {
        self.inner.lock().records.iter().cloned().collect()
    }

    /// Returns the latest record.
    #[must_use]
    pub fn latest(&self) -> Option<FaultRecord> {
        self.inner.lock().records.back().cloned()
    }

    /// Forgets the records; the count goes on.
    pub fn clear(&self) {
        self.inner.lock().records.clear();
    }

    /// Changes how many records are kept.
    pub fn set_capacity(&self, capacity: usize) {
        let mut inner = self.inner.lock();
        inner.capacity = capacity;
        inner.trim(capacity);
    }

    /// Sets or removes who is told of each refusal.
    pub fn set_listener(&self, listener: Option<FaultListener>) {
        let old = std::mem::replace(&mut self.inner.lock().listener, listener);
        drop(old); // outside the lock: it may own anything
    }
}

impl Inner {
    fn trim(&mut self, capacity: usize) {
        while self.records.len() > capacity {
            self.records.pop_front();
        }
    }
}

impl fmt::Debug for FaultLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLog").field("total", &self.total()).finish_non_exhaustive()
    }
}
