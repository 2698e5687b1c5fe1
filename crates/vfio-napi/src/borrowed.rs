//! Which addresses belong to unshared JavaScript buffers that are in use as memory.
//!
//! A typed array given to a call may be a view on such a buffer. Its bytes are then reached by two ways at once,
//! and must not become a slice.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static RANGES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Notes that a range of addresses is in use, until it is dropped.
pub(crate) struct Borrowed(usize, usize);

impl Borrowed {
    /// Notes the addresses from `start` up to `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        RANGES.lock().push((start, end));
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self(start, end)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut ranges = RANGES.lock();
        if let Some(at) = ranges.iter().position(|range| *range == (self.0, self.1)) {
            ranges.swap_remove(at);
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Tells whether some byte from `start` up to `end` is in use.
#[inline]
pub(crate) fn overlaps(start: usize, end: usize) -> bool {
    // A buffer of this thread was noted by this thread, and no other's is seen from here.
    COUNT.load(Ordering::Relaxed) != 0 && search(start, end)
}

#[cold]
fn search(start: usize, end: usize) -> bool {
    RANGES.lock().iter().any(|(first, last)| start < *last && *first < end)
}
