//! Requests of ours that wait for the peer's reply: ids, replies by id, and the end of the connection.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use crate::message::{Header, Kind};
use crate::socket::{Frame, Socket};

/// Requests that may be under way at once; more wait their turn by failing with `EAGAIN`.
const MAX_PENDING: usize = 1024;

/// What becomes of a request.
pub(crate) type Answer = Result<Frame, Errno>;

/// Runs when a reply has come, or never will.
pub(crate) type Completion = Box<dyn FnOnce(Answer) + Send>;

/// Matches replies to requests. The thread that receives hands replies in; any thread sends.
#[derive(Default)]
pub(crate) struct Requests {
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    next: u16,
    ended: bool,
    by_id: HashMap<u16, (u16, Completion)>,
}

impl Requests {
    /// Sends a request; `done` runs with the reply, on the thread that receives, or at once with the refusal:
    /// `EAGAIN` too many are under way, `ENOTCONN` the connection has ended.
    pub(crate) fn submit(
        &self,
        socket: &Socket,
        command: u16,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
        done: Completion,
    ) {
        let id = {
            let mut pending = self.pending.lock();
            if pending.ended || pending.by_id.len() >= MAX_PENDING {
                let errno = if pending.ended { Errno::ENOTCONN } else { Errno::EAGAIN };
                drop(pending);
                return done(Err(errno));
            }
            let id = pending.free_id();
            pending.by_id.insert(id, (command, done));
            id
        };
        let message = Header::message(id, command, Kind::Request { no_reply: false }, body);
        if socket.send(&message, fds).is_err() {
            // The receiving thread will notice too, and end the others.
            socket.shut_down();
            let waiting = self.pending.lock().by_id.remove(&id);
            if let Some((_, done)) = waiting {
                done(Err(Errno::ENOTCONN));
            }
        }
    }

    /// Sends a request and waits for its reply. Never to be called on the thread that receives.
    ///
    /// # Errors
    /// What the peer refuses with; `EAGAIN`, `ENOTCONN` as for [`submit`](Self::submit); `ETIMEDOUT`.
    pub(crate) fn call(
        &self,
        socket: &Socket,
        command: u16,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Answer {
        let (sender, receiver): (SyncSender<Answer>, Receiver<Answer>) = sync_channel(1);
        self.submit(socket, command, body, fds, Box::new(move |answer| drop(sender.send(answer))));
        receiver.recv_timeout(patience).unwrap_or(Err(Errno::ETIMEDOUT))
    }

    /// Hands a reply in.
    ///
    /// # Errors
    /// `EPROTO` nobody waits for it, or it answers another command: the peer is not to be trusted any more.
    pub(crate) fn complete(&self, frame: Frame) -> Result<(), Errno> {
        let done = {
            let mut pending = self.pending.lock();
            match pending.by_id.remove(&frame.header.id) {
                Some((command, done)) if command == frame.header.command => done,
                Some(other) => {
                    pending.by_id.insert(frame.header.id, other);
                    return Err(Errno::EPROTO);
                }
                None => return Err(Errno::EPROTO),
            }
        };
        done(match frame.header.kind {
            Kind::Reply { error: None } => Ok(frame),
            Kind::Reply { error: Some(code) } => Err(peer_errno(code)),
            Kind::Request { .. } => Err(Errno::EPROTO),
        });
        Ok(())
    }

    /// Tells whether a reply is being waited for.
    pub(crate) fn waiting(&self) -> bool {
        !self.pending.lock().by_id.is_empty()
    }

    /// Tells whether the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.pending.lock().ended
    }

    /// Ends all that wait, now and later, with `ENOTCONN`.
    pub(crate) fn end(&self) {
        let waiting: Vec<Completion> = {
            let mut pending = self.pending.lock();
            pending.ended = true;
            pending.by_id.drain().map(|(_, (_, done))| done).collect()
        };
        for done in waiting {
            done(Err(Errno::ENOTCONN));
        }
    }
}

impl Pending {
    fn free_id(&mut self) -> u16 {
        // Ends: far fewer are pending than there are ids.
        loop {
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("pending", &self.pending.lock().by_id.len()).finish()
    }
}

/// Some servers refuse without saying why.
fn peer_errno(code: u32) -> Errno {
    i32::try_from(code).ok().and_then(Errno::from_code).unwrap_or(Errno::EIO)
}
