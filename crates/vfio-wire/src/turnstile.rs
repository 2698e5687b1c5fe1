//! How much of the client's memory is asked for at once.
//!
//! QEMU 11.1 answers a `DMA_READ` by a single non-blocking write and does not look at how much of it was taken: what does
//! not fit its socket buffer is lost, and the connection with it. So no more is asked for than any buffer holds, by
//! all transfers together.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Bytes that one message asks for at most.
pub(crate) const MAX_MESSAGE: usize = 32 << 10;
/// Bytes that may be under way. The default buffer of a socket has 208 KiB, of which up to half is the system's own.
const MAX_UNDER_WAY: usize = 64 << 10;

/// Lets transfers through in their order, as long as there is room.
#[derive(Default)]
pub(crate) struct Turnstile(Mutex<State>);

/// Goes on with a transfer.
type Turn = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: VecDeque<(usize, Turn)>,
    /// Somebody lets the waiting through already: a transfer that ends meanwhile does not, so that none nest.
    letting_through: bool,
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.under_way == 0 || self.under_way + bytes <= MAX_UNDER_WAY
    }
}

impl Turnstile {
    /// Runs `turn`, which moves `bytes`, now or when there is room; [`leave`](Self::leave) has to follow.
    pub(crate) fn enter(&self, bytes: usize, turn: Turn) {
        {
            let mut state = self.0.lock();
            if !state.waiting.is_empty() || !state.has_room(bytes) {
                return state.waiting.push_back((bytes, turn));
            }
            state.under_way += bytes;
        }
        turn();
    }

    /// A transfer of `bytes` has ended.
    pub(crate) fn leave(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.under_way -= bytes;
        if std::mem::replace(&mut state.letting_through, true) {
            return;
        }
        while let Some((bytes, _)) = state.waiting.front()
            && state.has_room(*bytes)
            && let Some((bytes, turn)) = state.waiting.pop_front()
        {
            state.under_way += bytes;
            drop(state);
            turn();
            state = self.0.lock();
        }
        state.letting_through = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_is_under_way_than_fits_and_everybody_gets_through() {
        let turnstile = Arc::new(Turnstile::default());
        let entered = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let entered = entered.clone();
            turnstile.enter(MAX_MESSAGE, Box::new(move || _ = entered.fetch_add(1, Ordering::SeqCst)));
        }
        assert_eq!(entered.load(Ordering::SeqCst), MAX_UNDER_WAY / MAX_MESSAGE);
        for _ in 0..10 {
            turnstile.leave(MAX_MESSAGE);
        }
        assert_eq!(entered.load(Ordering::SeqCst), 10);
        assert!(turnstile.0.lock().waiting.is_empty());
    }

    #[test]
    fn thousands_that_end_at_once_do_not_nest() {
        let turnstile = Arc::new(Turnstile::default());
        turnstile.enter(MAX_UNDER_WAY, Box::new(|| {}));
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..100_000 {
            let (again, ended) = (turnstile.clone(), ended.clone());
            turnstile.enter(
                1,
                Box::new(move || {
                    ended.fetch_add(1, Ordering::SeqCst);
                    again.leave(1);
                }),
            );
        }
        turnstile.leave(MAX_UNDER_WAY);
        assert_eq!(ended.load(Ordering::SeqCst), 100_000);
    }
}
