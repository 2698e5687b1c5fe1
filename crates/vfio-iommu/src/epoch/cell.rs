//! A value that changes seldom and is looked at without a lock.

// UNSAFETY: the value is reached by a raw pointer, which epochs keep valid.
#![expect(unsafe_code, reason = "reads a value that only the epoch keeps alive")]

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

use super::{enter, synchronize};

/// Holds a value, or none, that any thread looks at inside an epoch: two stores of its own, where a lock takes two
/// atomic operations on a line that all readers share.
pub struct EpochCell<T> {
    current: AtomicPtr<T>,
    /// Values that the thread that took them out may have been looking at itself.
    retired: Mutex<Vec<Retired<T>>>,
}

struct Retired<T>(*mut T);

// SAFETY: a retired value is only dropped, by whoever empties the list; `EpochCell` takes values that may be sent.
unsafe impl<T: Send> Send for Retired<T> {}

impl<T: Send + Sync> EpochCell<T> {
    /// Makes a cell without a value.
    #[must_use]
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), retired: Mutex::new(Vec::new()) }
    }

    /// Lets `look` see the value. It is inside an epoch: it must be short, and take no lock that others hold while they
    /// change a table or this cell.
    #[inline]
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        let _inside = enter();
        // SAFETY: whoever takes the value out waits for this epoch before it is freed.
        unsafe { self.current.load(Ordering::Acquire).as_ref() }.map(look)
    }

    /// Puts another value in; nobody sees the old one when this returns.
    pub fn replace(&self, value: Option<T>) {
        let new = value.map_or(ptr::null_mut(), |value| Box::into_raw(Box::new(value)));
        let old = self.current.swap(new, Ordering::AcqRel);
        let mut gone = std::mem::take(&mut *self.retired.lock());
        if !old.is_null() {
            gone.push(Retired(old));
        }
        if gone.is_empty() {
            return;
        }
        if synchronize() {
            gone.into_iter().for_each(Retired::free);
        } else {
            // This thread is looking itself: a later change frees them.
            self.retired.lock().append(&mut gone);
        }
    }
}

impl<T> Retired<T> {
    fn free(self) {
        // SAFETY: the pointer came from a box, was taken out of the cell, and no reader is left.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl<T: Send + Sync> Default for EpochCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for EpochCell<T> {
    fn drop(&mut self) {
        let current = *self.current.get_mut();
        if !current.is_null() {
            Retired(current).free();
        }
        self.retired.get_mut().drain(..).for_each(Retired::free);
    }
}

impl<T> fmt::Debug for EpochCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochCell").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::EpochCell;

    #[test]
    fn a_value_lives_until_nobody_looks_at_it() {
        let cell = EpochCell::new();
        assert_eq!(cell.look(|value: &Arc<u32>| **value), None);
        let (first, second) = (Arc::new(1), Arc::new(2));
        cell.replace(Some(first.clone()));
        cell.look(|seen| {
            cell.replace(Some(second.clone()));
            assert_eq!(**seen, 1);
        });
        assert_eq!(Arc::strong_count(&first), 2, "kept, since it was looked at");
        cell.replace(None);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }

    #[test]
    fn readers_see_whole_values_while_they_change() {
        let cell = EpochCell::new();
        thread::scope(|scope| {
            let done = Arc::new(());
            for _ in 0..2 {
                let (cell, done) = (&cell, done.clone());
                scope.spawn(move || {
                    while Arc::strong_count(&done) > 2 {
                        let whole = cell.look(|pair: &[u64; 8]| pair.iter().all(|word| *word == pair[0]));
                        assert_ne!(whole, Some(false));
                    }
                });
            }
            for i in 0..2000 {
                cell.replace(Some([i; 8]));
            }
            drop(done);
        });
    }
}
