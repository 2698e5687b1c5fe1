//! Which counters this thread is telling the subscribers of, to break circles.

use std::cell::RefCell;

use super::Inner;

/// Rounds of calls that one signal may lead to. Whoever connects counters in a circle keeps what is not told in the
/// counter, as after any signal that nobody listens to.
const ROUNDS: u32 = 1000;

/// Remembers the counters whose subscribers are being told, outermost first.
#[derive(Default)]
struct Chain {
    /// Each counter by its address, and whether it was signalled again in the meantime.
    counters: Vec<(usize, bool)>,
    rounds: u32,
}

thread_local! {
    static CHAIN: RefCell<Chain> = RefCell::default();
}

/// Stands for the telling of one counter's subscribers, until dropped.
pub(super) struct Turn {
    counter: usize,
}

impl Turn {
    /// Begins to tell; none when this thread is at it further out, where it will be noticed.
    pub(super) fn begin(counter: &Inner) -> Option<Self> {
        let counter = std::ptr::from_ref(counter) as usize;
        CHAIN.with_borrow_mut(|chain| {
            if let Some((_, again)) = chain.counters.iter_mut().find(|(known, _)| *known == counter) {
                *again = true;
                return None;
            }
            if chain.counters.is_empty() {
                chain.rounds = ROUNDS;
            }
            chain.counters.push((counter, false));
            Some(Self { counter })
        })
    }

    /// Takes a round of calls from those that are left; false when there are none.
    pub(super) fn spend(&self) -> bool {
        CHAIN.with_borrow_mut(|chain| {
            let left = chain.rounds.checked_sub(1);
            chain.rounds = left.unwrap_or(0);
            left.is_some()
        })
    }

    /// Tells whether the counter was signalled again since the last time.
    pub(super) fn take_again(&self) -> bool {
        CHAIN.with_borrow_mut(|chain| {
            let entry = chain.counters.iter_mut().find(|(known, _)| *known == self.counter);
            entry.is_some_and(|(_, again)| std::mem::take(again))
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CHAIN.with_borrow_mut(|chain| chain.counters.retain(|(known, _)| *known != self.counter));
    }
}
