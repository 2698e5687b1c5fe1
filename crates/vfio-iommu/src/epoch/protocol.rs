//! One reader's slot, and the rules between readers and writers.
//!
//! The slot holds a counter that is odd while its thread is inside. Reader: make it odd, fence, read the
//! table. Writer: unlink in the table, fence, and wait for every counter that it finds odd to change. Either
//! the writer sees the odd counter and waits, or the reader's fence came later and it sees the table without
//! the entry. A counter that changed belongs to a reader that left or came in after the fence.
//!
//! This file is compiled twice: here, and in the model test with atomics that explore every interleaving; so
//! it takes them from `super::sync`.

use super::sync::{AtomicU64, Ordering};

/// Publishes whether one thread is inside.
#[derive(Debug)]
pub(super) struct Slot {
    turns: AtomicU64,
}

impl Slot {
    /// Makes a slot that is outside.
    pub(super) fn new() -> Self {
        Self { turns: AtomicU64::new(0) }
    }

    /// Returns the turn: odd while the owner is inside.
    #[inline]
    pub(super) fn turn(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Steps in from the even `turn`, and returns the odd one; the owner only. The caller fences next.
    #[inline]
    pub(super) fn step_in(&self, turn: u64) -> u64 {
        let inside = turn.wrapping_add(1);
        self.turns.store(inside, Ordering::Relaxed);
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
