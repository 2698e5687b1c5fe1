//! One reader's slot, and the rules between readers and writers.
//!
//! The slot holds a counter that is odd while its thread is inside. Reader: make it odd, fence, read the
//! table. Writer: unlink in the table, fence, and wait for every counter that it finds odd to change. Either
//! the writer sees the odd counter and waits, or the reader's fence came later and it sees the table without
//! the entry. A counter that changed belongs to a reader that left or came in after the fence.
//!
//! Slots are taken and given back as threads come and go. Taking ends with a fence: a writer that found the
//! slot free, and so did not look at the counter, unlinked before it.
//!
//! This file is compiled twice: here, and in the model test with atomics that explore every interleaving; so
//! it takes them from `super::sync`.

use super::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Publishes whether one thread is inside.
#[derive(Debug)]
pub(super) struct Slot {
    turns: AtomicU64,
    taken: AtomicBool,
}

impl Slot {
    /// Makes a free slot.
    pub(super) fn new() -> Self {
        Self { turns: AtomicU64::new(0), taken: AtomicBool::new(false) }
    }

    /// Makes the calling thread the owner, unless another is.
    pub(super) fn take(&self) -> bool {
        let taken = self.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        fence(Ordering::SeqCst);
        taken
    }

    /// Gives the slot back; the owner only, outside.
    pub(super) fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Tells whether the slot has an owner. A writer fences before it asks.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Returns the turn: odd while the owner is inside.
    #[inline]
    pub(super) fn turn(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Steps in from the even `turn`, and returns the odd one; the owner only. The caller fences next.
    ///
    /// Releases, because a writer that waits for the turn before may see this store instead of the one that
    /// ended that turn.
    #[inline]
    pub(super) fn step_in(&self, turn: u64) -> u64 {
        let inside = turn.wrapping_add(1);
        self.turns.store(inside, Ordering::Release);
        inside
    }

    /// Steps out of the odd turn `inside`; the owner only. Whatever it read or wrote happens before this.
    #[inline]
    pub(super) fn step_out(&self, inside: u64) {
        self.turns.store(inside.wrapping_add(1), Ordering::Release);
    }

    /// Waits until the owner is not inside, or came in after this call; `pause` is told how often it waited.
    pub(super) fn wait_out(&self, mut pause: impl FnMut(u32)) {
        let seen = self.turns.load(Ordering::Acquire);
        let mut round = 0;
        while seen % 2 == 1 && self.turns.load(Ordering::Acquire) == seen {
            pause(round);
            round = round.saturating_add(1);
        }
    }
}
