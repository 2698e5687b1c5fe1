//! How much a client may have under way: replies that are late, and writes that wait for none.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::requests::Requests;

/// Requests under way from which on the next one waits, as long as nothing of ours waits for the client.
const PLENTY: usize = 256;
/// Requests and bytes under way that no client needs.
const TOO_MANY: usize = 16_384;
const TOO_MUCH: usize = 64 << 20;
/// How long a device may leave `PLENTY` requests unanswered.
const PATIENCE: Duration = Duration::from_secs(30);
/// While waiting, how often to look whether a request of ours is under way.
const GLANCE: Duration = Duration::from_millis(5);

/// Counts what is under way.
#[derive(Default)]
pub(super) struct Flow {
    state: Mutex<UnderWay>,
    finished: Condvar,
}

#[derive(Default)]
struct UnderWay {
    requests: usize,
    bytes: usize,
}

impl Flow {
    /// Lets one more request of `bytes` in, waiting for room first.
    ///
    /// While a request of ours waits for the client's reply there is no waiting, because that reply comes through the
    /// same thread: then only the outer bound holds.
    pub(super) fn admit(&self, ours: &Requests, bytes: usize) -> Result<(), &'static str> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        while state.requests >= PLENTY && !ours.waiting() {
            self.finished.wait_for(&mut state, GLANCE);
            if Instant::now() > until {
                return Err("the device does not answer");
            }
        }
        if state.requests >= TOO_MANY || state.bytes + bytes > TOO_MUCH {
            return Err("the client floods the device");
        }
        state.requests += 1;
        state.bytes += bytes;
        Ok(())
    }

    /// One request of `bytes` is done with.
    pub(super) fn finish(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.requests -= 1;
        state.bytes -= bytes;
        self.finished.notify_one();
    }
}
