//! Who receives: one thread at a time.
//!
//! A thread that waits for an answer receives it itself, so that no other has to be woken for it: of a round trip those
//! wake-ups would be the larger part. When nobody has waited for an answer for a moment, the connection's own thread takes
//! over, which serves the server's requests for memory and learns of the connection's end.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long there must be no call for the connection's own thread to take over, at least.
const PAUSE: Duration = Duration::from_millis(1);

/// The turn to receive.
#[derive(Default)]
pub(super) struct Turn {
    state: Mutex<State>,
    /// Told when a message was received, to those who wait for an answer.
    received: Condvar,
    /// Told when the connection's own thread is wanted.
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody receives.
    taken: bool,
    /// Threads that wait for an answer.
    callers: usize,
    /// Answers that threads have waited for so far.
    calls: u32,
    /// How many there were when the connection's own thread last looked.
    looked_at: u32,
}

impl Turn {
    /// A thread begins to wait for an answer; true: it has the turn.
    pub(super) fn enter(&self) -> bool {
        let mut state = self.state.lock();
        state.callers += 1;
        !std::mem::replace(&mut state.taken, true)
    }

    /// A thread has its answer, and may have the turn.
    pub(super) fn leave(&self, has_turn: bool) {
        {
            let mut state = self.state.lock();
            state.callers -= 1;
            state.calls = state.calls.wrapping_add(1);
            if has_turn {
                state.taken = false;
            }
        }
        if has_turn {
            self.received.notify_all();
        }
    }

    /// Takes the turn for a thread that waits for an answer; false: the answer has `come`, or the deadline has.
    pub(super) fn take(&self, deadline: Instant, mut come: impl FnMut() -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if come() {
                return false;
            }
            if !state.taken {
                state.taken = true;
                return true;
            }
            if self.received.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
    }

    /// Takes the turn for the connection's own thread; false: the connection has `ended`. It waits for a pause, unless
    /// there are answers that `nobody` waits for.
    pub(super) fn take_over(&self, ended: impl Fn() -> bool, nobody: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if ended() {
                return false;
            }
            // No call since the last look.
            let paused = state.looked_at == state.calls;
            state.looked_at = state.calls;
            if !state.taken && state.callers == 0 && (paused || nobody()) {
                state.taken = true;
                return true;
            }
            // Looking now and then costs less than being told of every call.
            self.wanted.wait_for(&mut state, PAUSE);
        }
    }

    /// Gives the turn back: a message was received, or none came.
    pub(super) fn give_back(&self) {
        self.state.lock().taken = false;
        self.received.notify_all();
    }

    /// Something has come without being received, such as the end.
    pub(super) fn tell(&self) {
        drop(self.state.lock());
        self.received.notify_all();
        self.wanted.notify_all();
    }

    /// Calls for the connection's own thread: an answer will come that nobody waits for.
    pub(super) fn call_for(&self) {
        if !self.state.lock().taken {
            self.wanted.notify_all();
        }
    }
}
