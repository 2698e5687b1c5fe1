//! What changes under the controller's lock, and what is to be done next.

use std::collections::VecDeque;
use std::thread::ThreadId;

use super::command::{Command, Completion};
use super::event::Events;
use super::feature::Features;
use super::log_page::Records;
use super::queue::{Batch, CompletionQueue, Queues, Slot, SubmissionQueue};
use super::registers::Registers;

/// Holds the state of a controller.
#[derive(Debug)]
pub(super) struct State {
    pub(super) registers: Registers,
    pub(super) queues: Queues,
    pub(super) features: Features,
    pub(super) events: Events,
    pub(super) records: Records,
    /// Level of the interrupt line that was set last; none: not known.
    pub(super) line: Option<bool>,
    /// Commands that were fetched, with the queue that they came from. Each has a place for its completion.
    pub(super) fetched: VecDeque<(u16, Command)>,
    /// A completion that is not written yet, and its place.
    pub(super) unwritten: Option<(Completion, Slot)>,
    /// A shutdown was asked for.
    pub(super) shutdown: bool,
    /// The thread that works on commands.
    pub(super) runner: Option<ThreadId>,
    /// Something happened that the runner may not have seen.
    pub(super) attention: bool,
    /// The controller is disabled, and the runner has yet to notice.
    pub(super) stopping: bool,
    /// Some memory is reachable by messages only, for which a thread must be able to wait.
    pub(super) by_messages: bool,
    pub(super) worker: Worker,
    /// The controller is no more.
    pub(super) gone: bool,
    queue_pairs: u16,
}

/// Holds what is known of the worker thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Worker {
    pub(super) exists: bool,
    pub(super) called: bool,
}

/// Says what is to be done next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// To write a completion to its place.
    Write(Completion, Slot),
    /// To execute the first command that was fetched.
    Execute { queue: u16, command: Command },
    /// To fetch commands.
    Fetch(Batch),
    /// To bring everything to where it survives.
    ShutDown,
    /// Nothing.
    Rest,
}

impl State {
    /// Makes the state of a controller after power-on.
    pub(super) fn new(queue_pairs: u16) -> Self {
        Self {
            registers: Registers::default(),
            queues: Queues::new(queue_pairs),
            features: Features::new(queue_pairs),
            events: Events::default(),
            records: Records::default(),
            line: None,
            fetched: VecDeque::new(),
            unwritten: None,
            shutdown: false,
            runner: None,
            attention: false,
            stopping: false,
            by_messages: false,
            worker: Worker::default(),
            gone: false,
            queue_pairs,
        }
    }

    /// Forgets queues, commands and features; registers are the caller's.
    pub(super) fn clear(&mut self) {
        if self.queues.has_io_queues() {
            self.records.reset_abruptly();
        }
        self.queues.clear();
        self.features = Features::new(self.queue_pairs);
        self.events = Events::default();
        self.fetched.clear();
        self.unwritten = None;
        self.shutdown = false;
        self.by_messages = false;
    }

    /// Starts with the admin queues that the registers name, or fails.
    pub(super) fn start(&mut self) {
        let Some(admin) = self.registers.admin_queues() else {
            self.registers.fail();
            return;
        };
        let submission = SubmissionQueue::new(admin.submission_base, admin.submission_size, 0);
        let completion = CompletionQueue::new(admin.completion_base, admin.completion_size, Some(0));
        self.queues.set_submission(0, Some(submission));
        self.queues.set_completion(0, Some(completion));
        self.stopping = false;
        self.registers.set_ready(true);
    }

    /// Fails: nothing is done any more until a reset.
    pub(super) fn fail(&mut self) {
        self.registers.fail();
        self.fetched.clear();
        self.unwritten = None;
    }

    /// Says what is to be done next.
    pub(super) fn next_step(&mut self) -> Step {
        if self.gone {
            return Step::Rest;
        }
        let alive = self.registers.is_ready() && !self.registers.has_failed();
        if alive && !self.stopping {
            if let Some((completion, slot)) = self.unwritten {
                return Step::Write(completion, slot);
            }
            if let Some((queue, command)) = self.fetched.front() {
                return Step::Execute { queue: *queue, command: *command };
            }
        }
        if self.shutdown {
            return Step::ShutDown;
        }
        if !alive || self.stopping {
            return Step::Rest;
        }
        if self.queues.has_room(0)
            && let Some(completion) = self.events.take()
        {
            return self.complete(completion);
        }
        self.queues.next_batch().map_or(Step::Rest, Step::Fetch)
    }

    /// Takes a place for a completion, which is to be written next.
    pub(super) fn complete(&mut self, completion: Completion) -> Step {
        self.unwritten = self.queues.claim(completion.submission_queue).map(|slot| (completion, slot));
        self.unwritten.map_or(Step::Rest, |(completion, slot)| Step::Write(completion, slot))
    }

    /// Tells whether the interrupt line has the level that it is to have.
    pub(super) fn line_is(&self, by_line: bool) -> bool {
        self.line == Some(by_line && self.wants_line())
    }

    /// Tells whether the interrupt line is to be asserted.
    pub(super) fn wants_line(&self) -> bool {
        self.queues.wants_attention(|vector| self.registers.masks(vector))
    }
}
