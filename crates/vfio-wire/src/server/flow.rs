//! How much a client may have under way: replies that are late, and writes that wait for none.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::message::{Command, RegionAccess};
use crate::requests::Requests;
use crate::socket::{Frame, Socket};

/// Requests under way, and bytes, from which on the next one waits, as long as nothing of ours waits for the client.
const PLENTY: usize = 256;
const PLENTY_BYTES: usize = 16 << 20;
/// Requests and bytes under way that no client needs.
const TOO_MANY: usize = 16_384;
const TOO_MUCH: usize = 64 << 20;
/// How long a device may leave `PLENTY` requests unanswered.
const PATIENCE: Duration = Duration::from_secs(30);
/// While waiting, how often to look whether a request of ours is under way, and the client still there.
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
    pub(super) fn admit(&self, ours: &Requests, socket: &Socket, bytes: usize) -> Result<(), &'static str> {
        let mut until = None;
        let mut state = self.state.lock();
        while state.requests > 0
            && (state.requests >= PLENTY || state.bytes + bytes > PLENTY_BYTES)
            && !ours.waiting()
        {
            self.finished.wait_for(&mut state, GLANCE);
            if socket.has_hung_up() {
                return Err("the peer closed the connection");
            }
            if Instant::now() > *until.get_or_insert_with(|| Instant::now() + PATIENCE) {
                return Err("the device does not answer");
            }
        }
        if state.requests >= TOO_MANY || (state.requests > 0 && state.bytes + bytes > TOO_MUCH) {
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

/// Bytes that a request holds, or that its answer will.
pub(super) fn cost(frame: &Frame) -> usize {
    let reads = frame.header.command == Command::RegionRead as u16;
    let asked = RegionAccess::read(&frame.body).filter(|_| reads).map_or(0, |(access, _)| access.count);
    // A read of more than a message carries is refused before anything is held.
    let asked = if asked as usize > TOO_MUCH { 0 } else { asked as usize };
    frame.body.len().max(asked)
}
