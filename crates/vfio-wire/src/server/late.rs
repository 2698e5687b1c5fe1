//! Requests that the device answers later: each is answered in time, if need be with `ETIMEDOUT`.
//!
//! A client gives a late answer up and takes the next one for it, so an answer in time, even a refusal, is what
//! keeps a connection alive.
//!
//! A client may also be unable to answer us while it waits for an answer of ours: QEMU holds a lock meanwhile that it
//! needs to serve `DMA_READ` and `DMA_WRITE`. So no write is left unanswered while a request of ours is under way: it is
//! acknowledged, as a bus posts it, and what the device comes to say of it concerns nobody. A read cannot be answered
//! without its data: one that is not answered while the client does not answer us either is refused with `EDEADLK`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::connection::{Connection, ReplyTo};
use super::dispatch::Answer;
use crate::message::RegionAccess;
use crate::requests::Requests;

/// How long a read and a request of ours may wait at the same time before they are taken to wait for each other.
const DEADLOCK: Duration = Duration::from_secs(1);

/// A request under way: it is answered once, and counted until nobody can answer it any more.
pub(super) struct Pending(Arc<Unanswered>);

struct Unanswered {
    connection: Arc<Connection>,
    to: ReplyTo,
    bytes: usize,
    answered: AtomicBool,
}

impl Pending {
    pub(super) fn new(connection: Arc<Connection>, to: ReplyTo, bytes: usize) -> Self {
        Self(Arc::new(Unanswered { connection, to, bytes, answered: AtomicBool::new(false) }))
    }

    /// Answers the request, unless its time is up.
    pub(super) fn answer(self, result: Result<Answer, Errno>) {
        self.0.answer(result);
    }

    /// Has the request answered in time, should whoever has it not do so.
    pub(super) fn watch(&self) -> Watched {
        Watched(Arc::downgrade(&self.0))
    }
}

impl Unanswered {
    fn answer(&self, result: Result<Answer, Errno>) {
        if self.answered.swap(true, Ordering::AcqRel) {
            return;
        }
        match result {
            Ok(answer) => self.connection.reply(&self.to, answer),
            Err(errno) => self.connection.refuse(&self.to, errno),
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.connection.flow.finish(self.bytes);
    }
}

/// A request that may be answered later.
pub(super) struct Watched(Weak<Unanswered>);

/// What a late request is owed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owed {
    /// Data.
    Data,
    /// Word that this was written.
    Write(RegionAccess),
    /// Word that so many writes were done.
    Writes(u64),
}

impl Owed {
    /// The answer, where it is known beforehand.
    fn answer(self) -> Option<Answer> {
        match self {
            Self::Data => None,
            Self::Write(access) => Some(Answer::access(access, &[])),
            Self::Writes(count) => Some(Answer::body(count.to_ne_bytes().to_vec())),
        }
    }
}

/// The requests that were not answered at once, oldest first.
pub(super) struct Late {
    limit: Duration,
    queue: Mutex<VecDeque<Entry>>,
}

struct Entry {
    since: Instant,
    request: Weak<Unanswered>,
    owed: Owed,
}

impl Entry {
    fn unanswered(&self) -> Option<Arc<Unanswered>> {
        self.request.upgrade().filter(|request| !request.answered.load(Ordering::Acquire))
    }
}

impl Late {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, queue: Mutex::default() }
    }

    /// Takes a request that was handed to the device; one that is answered already is forgotten.
    pub(super) fn add(&self, Watched(request): Watched, owed: Owed, ours: &Requests) {
        if request.strong_count() == 0 {
            return;
        }
        self.queue.lock().push_back(Entry { since: Instant::now(), request, owed });
        // In this order: whoever sends enters its request first and then looks into the queue.
        if ours.waiting() {
            self.acknowledge_writes();
        }
    }

    /// Answers all writes that the device has not.
    pub(super) fn acknowledge_writes(&self) {
        let mut owing = Vec::new();
        self.queue.lock().retain(|entry| {
            let Some(answer) = entry.owed.answer() else { return true };
            owing.extend(entry.unanswered().map(|request| (request, answer)));
            false
        });
        for (request, answer) in owing {
            request.answer(Ok(answer));
        }
    }

    /// Answers those whose time is up. A request of ours has been waiting since `asked`.
    pub(super) fn expire(&self, asked: Option<Instant>) {
        let mut overdue = Vec::new();
        {
            let mut queue = self.queue.lock();
            while let Some(entry) = queue.front() {
                if let Some(request) = entry.unanswered() {
                    let limit = entry.since + self.limit;
                    let (until, errno) = match asked.map(|asked| asked.max(entry.since) + DEADLOCK) {
                        Some(deadlock) if deadlock < limit => (deadlock, Errno::EDEADLK),
                        _ => (limit, Errno::ETIMEDOUT),
                    };
                    if until > Instant::now() {
                        break;
                    }
                    overdue.push((request, errno));
                }
                queue.pop_front();
            }
        }
        for (request, errno) in overdue {
            request.answer(Err(errno));
        }
    }
}
