//! Requests of ours that wait for the peer's reply: ids, replies by id, and the end of the connection.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

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
pub(crate) struct Requests {
    /// How long the peer may take over a reply.
    patience: Duration,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    next: u16,
    ended: bool,
    by_id: HashMap<u16, Waiting>,
    /// When each request was sent, oldest first; those that were answered in the meantime too.
    by_age: VecDeque<(Instant, u16, u64)>,
    sent: u64,
}

struct Waiting {
    command: u16,
    /// Counts the requests, of which several bear the same id in the course of time.
    number: u64,
    /// None: nobody waits any more, but the reply may still come.
    done: Option<Completion>,
}

impl Requests {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, pending: Mutex::default() }
    }

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
        if let Some(id) = self.enter(command, done) {
            self.send(socket, id, command, body, fds);
        }
    }

    /// Waits for the reply to a request from now on, which [`send`](Self::send) has to follow. Where that cannot be, `done`
    /// runs with the refusal.
    pub(crate) fn enter(&self, command: u16, done: Completion) -> Option<u16> {
        let mut pending = self.pending.lock();
        if pending.ended || pending.by_id.len() >= MAX_PENDING {
            let errno = if pending.ended { Errno::ENOTCONN } else { Errno::EAGAIN };
            drop(pending);
            done(Err(errno));
            return None;
        }
        Some(pending.insert(command, done))
    }

    /// Sends a request that was entered.
    pub(crate) fn send(&self, socket: &Socket, id: u16, command: u16, body: &[u8], fds: &[BorrowedFd<'_>]) {
        let message = Header::message(id, command, Kind::Request { no_reply: false }, body);
        if socket.send(&message, fds).is_err() {
            // The receiving thread will notice too, and end the others.
            socket.shut_down();
            let waiting = self.pending.lock().by_id.remove(&id);
            if let Some(done) = waiting.and_then(|waiting| waiting.done) {
                done(Err(Errno::ENOTCONN));
            }
        }
    }

    /// Sends a request and waits for its reply. Never to be called on the thread that receives.
    ///
    /// # Errors
    /// What the peer refuses with; `EAGAIN`, `ENOTCONN` as for [`submit`](Self::submit); `ETIMEDOUT`.
    pub(crate) fn call(&self, socket: &Socket, command: u16, body: &[u8], fds: &[BorrowedFd<'_>]) -> Answer {
        let (sender, receiver): (SyncSender<Answer>, Receiver<Answer>) = sync_channel(1);
        self.submit(socket, command, body, fds, Box::new(move |answer| drop(sender.send(answer))));
        receiver.recv_timeout(self.patience).unwrap_or(Err(Errno::ETIMEDOUT))
    }

    /// Hands a reply in.
    ///
    /// # Errors
    /// `EPROTO` nobody waits for it, or it answers another command: the peer is not to be trusted any more.
    pub(crate) fn complete(&self, frame: Frame) -> Result<(), Errno> {
        let done = {
            let mut pending = self.pending.lock();
            match pending.by_id.remove(&frame.header.id) {
                Some(waiting) if waiting.command == frame.header.command => waiting.done,
                Some(other) => {
                    pending.by_id.insert(frame.header.id, other);
                    return Err(Errno::EPROTO);
                }
                None => return Err(Errno::EPROTO),
            }
        };
        let Some(done) = done else { return Ok(()) };
        done(match frame.header.kind {
            Kind::Reply { error: None } => Ok(frame),
            Kind::Reply { error: Some(code) } => Err(peer_errno(code)),
            Kind::Request { .. } => Err(Errno::EPROTO),
        });
        Ok(())
    }

    /// Ends requests whose replies are overdue with `ETIMEDOUT`; returns since when the oldest of the others waits.
    pub(crate) fn expire(&self) -> Option<Instant> {
        let mut overdue = Vec::new();
        let next = {
            let pending = &mut *self.pending.lock();
            loop {
                let Some((sent, id, number)) = pending.by_age.front().copied() else { break None };
                let waiting = pending.by_id.get_mut(&id).filter(|waiting| waiting.number == number);
                let done = waiting.map(|waiting| &mut waiting.done).filter(|done| done.is_some());
                if let Some(done) = done {
                    if sent.elapsed() < self.patience {
                        break Some(sent);
                    }
                    overdue.extend(done.take());
                }
                pending.by_age.pop_front();
            }
        };
        for done in overdue {
            done(Err(Errno::ETIMEDOUT));
        }
        next
    }

    /// Returns when a request that was sent then is overdue.
    pub(crate) fn overdue(&self, sent: Instant) -> Instant {
        sent + self.patience
    }

    /// Tells whether a reply is being waited for.
    pub(crate) fn waiting(&self) -> bool {
        self.pending.lock().by_id.values().any(|waiting| waiting.done.is_some())
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
            pending.by_age.clear();
            pending.by_id.drain().filter_map(|(_, waiting)| waiting.done).collect()
        };
        for done in waiting {
            done(Err(Errno::ENOTCONN));
        }
    }
}

impl Pending {
    fn insert(&mut self, command: u16, done: Completion) -> u16 {
        let id = self.free_id();
        self.sent += 1;
        self.by_id.insert(id, Waiting { command, number: self.sent, done: Some(done) });
        // Most are answered long before they are looked at again; those need not be remembered.
        while self.by_age.front().is_some_and(|(_, id, number)| !self.waits(*id, *number)) {
            self.by_age.pop_front();
        }
        self.by_age.push_back((Instant::now(), id, self.sent));
        if self.by_age.len() > 4 * MAX_PENDING {
            let by_id = &self.by_id;
            self.by_age
                .retain(|(_, id, number)| by_id.get(id).is_some_and(|waiting| waiting.number == *number));
        }
        id
    }

    fn waits(&self, id: u16, number: u64) -> bool {
        self.by_id.get(&id).is_some_and(|waiting| waiting.number == number && waiting.done.is_some())
    }

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
