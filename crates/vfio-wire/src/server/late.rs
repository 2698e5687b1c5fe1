//! Requests that the device answers later: each is answered in time, if need be with `ETIMEDOUT`.
//!
//! A client gives a late answer up and takes the next one for it, so an answer in time, even a refusal, is what
//! keeps a connection alive.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::connection::{Connection, ReplyTo};
use super::dispatch::Answer;

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
            Ok(answer) => self.connection.reply(&self.to, &answer),
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

/// The requests that were not answered at once, oldest first.
pub(super) struct Late {
    limit: Duration,
    queue: Mutex<VecDeque<(Instant, Watched)>>,
}

impl Late {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, queue: Mutex::default() }
    }

    /// Takes a request that was handed to the device; one that is answered already is forgotten.
    pub(super) fn add(&self, watched: Watched) {
        if watched.0.strong_count() != 0 {
            self.queue.lock().push_back((Instant::now() + self.limit, watched));
        }
    }

    /// Answers those whose time is up; returns when the next one's will be.
    pub(super) fn expire(&self) -> Option<Instant> {
        let mut overdue = Vec::new();
        let next = {
            let mut queue = self.queue.lock();
            loop {
                let Some((until, watched)) = queue.front() else { break None };
                let waiting = watched.0.upgrade().filter(|waiting| !waiting.answered.load(Ordering::Acquire));
                if waiting.is_some() && *until > Instant::now() {
                    break Some(*until);
                }
                overdue.extend(waiting);
                queue.pop_front();
            }
        };
        for waiting in overdue {
            waiting.answer(Err(Errno::ETIMEDOUT));
        }
        next
    }
}
