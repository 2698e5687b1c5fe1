//! Where answers to submitted DMA arrive, for the one thread that may wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vfio_iommu::{DmaSpace, Iova};

use super::status::Failure;

/// Holds what arrived, and the generation of the controller: an access of an older one is over.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    generation: AtomicU64,
    answers: Mutex<Answers>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Answers {
    /// Number of the accesses that are waited for; answers to others come too late.
    batch: u64,
    received: Vec<(usize, Answer)>,
    /// Until when answers to accesses of an older generation are waited for.
    patience: Option<Instant>,
}

/// What an access gave: bytes read (none for a write), or that it was refused.
type Answer = Result<Vec<u8>, Refused>;

/// The access was refused, or whoever had to answer it has gone.
#[derive(Debug, Clone, Copy)]
struct Refused;

/// Delivers one answer; dropped without one, it delivers a refusal.
struct Ticket {
    mailbox: Arc<Mailbox>,
    batch: u64,
    index: usize,
    delivered: bool,
}

impl Mailbox {
    /// Returns the present generation.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a generation. Whoever waits for answers of the one before stops, once they have come or `patience` is
    /// over.
    pub(super) fn begin(&self, patience: Duration) {
        let mut answers = self.answers.lock();
        answers.patience = Instant::now().checked_add(patience);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.arrived.notify_all();
    }

    /// Reads several runs of bytes and waits for all of them.
    pub(super) fn read(
        self: &Arc<Self>,
        generation: u64,
        dma: &dyn DmaSpace,
        runs: &[(Iova, usize)],
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let batch = self.open();
        for (index, (iova, len)) in runs.iter().enumerate() {
            let ticket = self.ticket(batch, index);
            let expected = *len;
            dma.submit_read(
                *iova,
                *len,
                Box::new(move |read| ticket.deliver(read.ok().filter(|bytes| bytes.len() == expected))),
            );
        }
        self.wait(generation, runs.len())
    }

    /// Writes several runs of bytes and waits for all of them.
    pub(super) fn write(
        self: &Arc<Self>,
        generation: u64,
        dma: &dyn DmaSpace,
        runs: Vec<(Iova, Vec<u8>)>,
    ) -> Result<(), Failure> {
        let batch = self.open();
        let count = runs.len();
        for (index, (iova, bytes)) in runs.into_iter().enumerate() {
            let ticket = self.ticket(batch, index);
            dma.submit_write(
                iova,
                bytes,
                Box::new(move |written| ticket.deliver(written.ok().map(|()| Vec::new()))),
            );
        }
        self.wait(generation, count).map(|_nothing| ())
    }

    fn open(&self) -> u64 {
        let mut answers = self.answers.lock();
        answers.batch += 1;
        answers.received.clear();
        answers.batch
    }

    fn ticket(self: &Arc<Self>, batch: u64, index: usize) -> Ticket {
        Ticket { mailbox: Arc::clone(self), batch, index, delivered: false }
    }

    fn wait(&self, generation: u64, count: usize) -> Result<Vec<Vec<u8>>, Failure> {
        let mut answers = self.answers.lock();
        while answers.received.len() < count {
            if self.generation() == generation {
                self.arrived.wait(&mut answers);
                continue;
            }
            let over =
                answers.patience.is_none_or(|end| self.arrived.wait_until(&mut answers, end).timed_out());
            if over {
                // What still arrives belongs to no batch any more.
                answers.batch += 1;
                answers.received.clear();
                return Err(Failure::Reset);
            }
        }
        let mut received = std::mem::take(&mut answers.received);
        drop(answers);
        received.sort_by_key(|(index, _)| *index);
        received.into_iter().map(|(_, answer)| answer.map_err(|Refused| Failure::Fault)).collect()
    }
}

impl Ticket {
    fn deliver(mut self, bytes: Option<Vec<u8>>) {
        self.put(bytes.ok_or(Refused));
    }

    fn put(&mut self, answer: Answer) {
        self.delivered = true;
        let mut answers = self.mailbox.answers.lock();
        if answers.batch == self.batch {
            answers.received.push((self.index, answer));
            self.mailbox.arrived.notify_all();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.delivered {
            self.put(Err(Refused));
        }
    }
}
