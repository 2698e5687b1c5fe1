//! The accesses to one model whose promises are open.
//!
//! Whoever submitted an access hears of it once, whatever happens: answered, failed, let go by a reset, or dropped because
//! the environment has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_device::ops::Completion;
use vfio_uapi::Errno;

use crate::js::{Argument, Callback, Outcome, Settled};

/// Hears of an access, once; one that is dropped unheard has failed.
pub(super) struct Answer(Option<Completion<Vec<u8>>>);

impl Answer {
    pub(super) fn new(done: Completion<Vec<u8>>) -> Self {
        Self(Some(done))
    }

    fn give(mut self, answer: Result<Vec<u8>, Errno>) {
        if let Some(done) = self.0.take() {
            done(answer);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(Errno::EIO));
        }
    }
}

/// One access.
pub(super) struct Access {
    pub(super) function: Arc<Callback>,
    pub(super) place: [Argument; 2],
    /// What is written, or room for what is read.
    pub(super) bytes: Vec<u8>,
    pub(super) answer: Answer,
}

/// Knows the accesses that a model has not answered yet, oldest first.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    accesses: BTreeMap<u64, Answer>,
}

impl Unanswered {
    /// Runs an access on the thread of the model; it is answered now or when its promise is settled.
    pub(super) fn run(self: &Arc<Self>, access: Access) {
        let Access { function, place, mut bytes, answer } = access;
        let (mut answer, len) = (Some(answer), bytes.len());
        let mut later = || self.note(len, answer.take());
        let outcome = function.run(&place, &mut bytes, Some(&mut later));
        if let Some(answer) = answer {
            answer.give(if outcome == Outcome::Done { Ok(bytes) } else { Err(Errno::EIO) });
        }
    }

    /// Lets every access go: it has failed, and what the model says to it is not heard any more.
    pub(super) fn abandon(&self) {
        let accesses = std::mem::take(&mut self.0.lock().accesses);
        // Dropped without the lock, and thereby answered.
        drop(accesses);
    }

    /// Notes an access of `len` bytes, and makes what its promise runs.
    fn note(self: &Arc<Self>, len: usize, answer: Option<Answer>) -> Settled {
        let id = {
            let mut open = self.0.lock();
            open.next += 1;
            let id = open.next;
            open.accesses.extend(answer.map(|answer| (id, answer)));
            id
        };
        let unanswered = Arc::downgrade(self);
        Box::new(move |bytes| {
            let Some(unanswered) = unanswered.upgrade() else { return };
            // None where it was let go meanwhile.
            let answer = unanswered.0.lock().accesses.remove(&id);
            if let Some(answer) = answer {
                answer.give(bytes.ok_or(Errno::EIO).map(|mut bytes| {
                    bytes.resize(len, 0);
                    bytes
                }));
            }
        })
    }
}
