//! The queues: where they lie, how far either side has come, and what a doorbell changes.

use super::command::{COMMAND_SIZE, COMPLETION_SIZE};
use super::registers::DOORBELLS;

/// Queue pairs for I/O that a controller can have at most; one more vector than that fits the table of messages.
pub(super) const MAX_QUEUE_PAIRS: u16 = 64;
/// Commands that are fetched at once.
const BATCH: u32 = 16;

/// Holds a submission queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubmissionQueue {
    pub(super) base: u64,
    pub(super) size: u32,
    /// Next entry to fetch.
    pub(super) head: u32,
    /// Next entry that the host fills.
    pub(super) tail: u32,
    /// Queue that its completions go to.
    pub(super) completion: u16,
}

/// Holds a completion queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompletionQueue {
    pub(super) base: u64,
    pub(super) size: u32,
    /// Next entry that the host looks at.
    pub(super) head: u32,
    /// Next entry to fill.
    pub(super) tail: u32,
    pub(super) phase: bool,
    /// The entry before that is being written: the host may see it already, and no interrupt tells of it yet.
    writing: bool,
    /// Vector of its interrupts, if it has any.
    pub(super) vector: Option<u16>,
    /// Something was posted that no interrupt told of.
    untold: bool,
}

impl SubmissionQueue {
    /// Makes an empty queue.
    pub(super) const fn new(base: u64, size: u32, completion: u16) -> Self {
        Self { base, size, head: 0, tail: 0, completion }
    }
}

impl CompletionQueue {
    /// Makes an empty queue.
    pub(super) const fn new(base: u64, size: u32, vector: Option<u16>) -> Self {
        Self { base, size, head: 0, tail: 0, phase: true, writing: false, vector, untold: false }
    }

    /// Returns the entries that can be filled; one always stays free, or full would look like empty.
    const fn room(&self) -> u32 {
        self.size - 1 - distance(self.head, self.tail, self.size)
    }
}

/// Tells whether a queue of so many entries ends before the address space does.
pub(super) fn fits(base: u64, entries: u32, entry_size: usize) -> bool {
    base.checked_add(u64::from(entries) * entry_size as u64 - 1).is_some()
}

/// Names commands that wait to be fetched and lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) queue: u16,
    pub(super) address: u64,
    pub(super) count: u32,
}

/// Names the place of the next completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) queue: u16,
    pub(super) address: u64,
    pub(super) phase: bool,
    pub(super) submission_head: u16,
}

/// Says which doorbell rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rung {
    Submission,
    Completion,
}

/// Says what is wrong with a write to a doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadDoorbell {
    /// There is no such queue.
    Register,
    /// The queue has no such entry, or not that many that could be added or taken.
    Value,
}

/// Holds every queue by its number; number 0 is the admin queue.
#[derive(Debug)]
pub(super) struct Queues {
    submission: Vec<Option<SubmissionQueue>>,
    completion: Vec<Option<CompletionQueue>>,
    /// The submission queue whose turn it is.
    turn: u16,
}

impl Queues {
    /// Makes room for a number of queue pairs beside the admin queues.
    pub(super) fn new(pairs: u16) -> Self {
        let count = usize::from(pairs) + 1;
        Self { submission: vec![None; count], completion: vec![None; count], turn: 1 }
    }

    /// Removes every queue.
    pub(super) fn clear(&mut self) {
        self.submission.fill(None);
        self.completion.fill(None);
        self.turn = 1;
    }

    /// Looks a submission queue up.
    pub(super) fn submission(&self, queue: u16) -> Option<&SubmissionQueue> {
        self.submission.get(usize::from(queue))?.as_ref()
    }

    /// Looks a completion queue up.
    pub(super) fn completion(&self, queue: u16) -> Option<&CompletionQueue> {
        self.completion.get(usize::from(queue))?.as_ref()
    }

    /// Tells whether a submission queue of that number could be created.
    pub(super) fn is_free_submission(&self, queue: u16) -> bool {
        queue != 0 && self.submission.get(usize::from(queue)).is_some_and(Option::is_none)
    }

    /// Tells whether a completion queue of that number could be created.
    pub(super) fn is_free_completion(&self, queue: u16) -> bool {
        queue != 0 && self.completion.get(usize::from(queue)).is_some_and(Option::is_none)
    }

    /// Tells whether a submission queue sends its completions there.
    pub(super) fn is_completion_used(&self, queue: u16) -> bool {
        self.submission.iter().flatten().any(|submission| submission.completion == queue)
    }

    /// Tells whether there are queues beside the admin queues.
    pub(super) fn has_io_queues(&self) -> bool {
        self.submission.iter().skip(1).any(Option::is_some)
            || self.completion.iter().skip(1).any(Option::is_some)
    }

    /// Puts a submission queue in its place, or takes it away.
    pub(super) fn set_submission(&mut self, queue: u16, value: Option<SubmissionQueue>) {
        if let Some(place) = self.submission.get_mut(usize::from(queue)) {
            *place = value;
        }
    }

    /// Puts a completion queue in its place, or takes it away.
    pub(super) fn set_completion(&mut self, queue: u16, value: Option<CompletionQueue>) {
        if let Some(place) = self.completion.get_mut(usize::from(queue)) {
            *place = value;
        }
    }

    /// Follows a write to a doorbell.
    ///
    /// # Errors
    /// What is wrong with it; nothing changes then.
    pub(super) fn ring(&mut self, offset: u64, value: u32) -> Result<Rung, BadDoorbell> {
        let number = offset.checked_sub(DOORBELLS).ok_or(BadDoorbell::Register)? / 4;
        let queue = usize::try_from(number / 2).map_err(|_| BadDoorbell::Register)?;
        let value = value & 0xffff;
        if number % 2 == 0 {
            let found =
                self.submission.get_mut(queue).and_then(Option::as_mut).ok_or(BadDoorbell::Register)?;
            let free = found.size - 1 - distance(found.head, found.tail, found.size);
            if value >= found.size || distance(found.tail, value, found.size) > free {
                return Err(BadDoorbell::Value);
            }
            found.tail = value;
            Ok(Rung::Submission)
        } else {
            let found =
                self.completion.get_mut(queue).and_then(Option::as_mut).ok_or(BadDoorbell::Register)?;
            let used = distance(found.head, found.tail, found.size);
            if value >= found.size || distance(found.head, value, found.size) > used {
                return Err(BadDoorbell::Value);
            }
            found.head = value;
            Ok(Rung::Completion)
        }
    }

    /// Names the commands to fetch next: the admin queue's before all others, those in turn.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.batch_of(0) {
            return Some(batch);
        }
        let pairs = (self.submission.len() - 1) as u16;
        let batch = (0..pairs)
            .map(|step| (self.turn - 1 + step) % pairs + 1)
            .find_map(|queue| self.batch_of(queue))?;
        self.turn = batch.queue % pairs + 1;
        Some(batch)
    }

    fn batch_of(&self, queue: u16) -> Option<Batch> {
        let submission = self.submission(queue)?;
        let waiting = distance(submission.head, submission.tail, submission.size);
        let room = self.completion(submission.completion)?.room();
        let count = waiting.min(submission.size - submission.head).min(room).min(BATCH);
        let address = submission.base + u64::from(submission.head) * COMMAND_SIZE as u64;
        (count != 0).then_some(Batch { queue, address, count })
    }

    /// Notes that commands were fetched.
    pub(super) fn fetched(&mut self, batch: Batch) {
        if let Some(Some(queue)) = self.submission.get_mut(usize::from(batch.queue)) {
            queue.head = (queue.head + batch.count) % queue.size;
        }
    }

    /// Tells whether a completion for a command of a submission queue has a place.
    pub(super) fn has_room(&self, submission: u16) -> bool {
        let queue = self.submission(submission).and_then(|from| self.completion(from.completion));
        queue.is_some_and(|queue| queue.room() != 0)
    }

    /// Takes the place of the next completion for a command of a submission queue.
    pub(super) fn claim(&mut self, submission: u16) -> Option<Slot> {
        let from = *self.submission(submission)?;
        let queue = self.completion.get_mut(usize::from(from.completion))?.as_mut()?;
        if queue.room() == 0 {
            return None;
        }
        let address = queue.base + u64::from(queue.tail) * COMPLETION_SIZE as u64;
        let slot =
            Slot { queue: from.completion, address, phase: queue.phase, submission_head: from.head as u16 };
        queue.writing = true;
        queue.tail += 1;
        if queue.tail == queue.size {
            queue.tail = 0;
            queue.phase = !queue.phase;
        }
        Some(slot)
    }

    /// Notes that the completion was written whose place was taken last.
    pub(super) fn posted(&mut self, slot: Slot) {
        if let Some(Some(queue)) = self.completion.get_mut(usize::from(slot.queue)) {
            queue.writing = false;
            queue.untold = true;
        }
    }

    /// Takes the vectors whose queues have something new.
    pub(super) fn take_untold(&mut self) -> Vec<u16> {
        let untold = self.completion.iter_mut().flatten().filter(|queue| queue.untold);
        let vectors = untold.filter_map(|queue| {
            queue.untold = false;
            queue.vector
        });
        vectors.collect()
    }

    /// Tells whether a queue that interrupts has completions that the host has not looked at, `masked` vectors aside.
    pub(super) fn wants_attention(&self, masked: impl Fn(u16) -> bool) -> bool {
        self.completion.iter().flatten().any(|queue| {
            let written = distance(queue.head, queue.tail, queue.size) > u32::from(queue.writing);
            written && queue.vector.is_some_and(|vector| !masked(vector))
        })
    }
}

/// Returns how many entries it is from one place of a ring to another.
const fn distance(from: u32, to: u32, size: u32) -> u32 {
    if to >= from { to - from } else { to + size - from }
}
