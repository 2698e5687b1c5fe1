//! Who works on commands: the thread that rang, or one that may wait.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::access::Access;
use super::command::{COMMAND_SIZE, Command, Completion};
use super::controller::Controller;
use super::io::Outcome;
use super::queue::Batch;
use super::state::{State, Step};
use super::status::{Failure, Status};
use super::{admin, io};

/// Steps that the thread which rang does at most.
const STEPS: u32 = 256;
/// Bytes that it moves at most, no fewer than one command can.
const BYTES: u64 = 1 << 20;
/// Bytes after which the host is told of what is done, even though more is to be done.
const TELL_AFTER: u64 = 128 << 10;
/// How long the worker stays without work.
const IDLE: Duration = Duration::from_secs(2);

/// Says why a runner stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing is left to do.
    Rest,
    /// The worker is to go on.
    HandOver,
}

/// Limits what the thread that rang does.
#[derive(Debug)]
struct Budget {
    steps: u32,
    bytes: u64,
}

impl Budget {
    /// Takes a step from the budget.
    const fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps != 0
    }

    /// Takes bytes from the budget.
    const fn spend(&mut self, bytes: u64) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                true
            }
            None => false,
        }
    }
}

/// Is held by the runner. Dropped in a panic, it leaves a controller that has failed instead of one that hangs.
struct Runner<'a> {
    controller: &'a Arc<Controller>,
    released: bool,
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        if !self.released {
            let mut state = self.controller.state();
            state.fail();
            release(self.controller, &mut state);
        }
    }
}

fn release(controller: &Controller, state: &mut State) {
    state.runner = None;
    if std::mem::take(&mut state.stopping) {
        state.registers.set_ready(false);
    }
    controller.changed.notify_all();
}

impl Controller {
    /// Works on what there is to do, or has somebody do it.
    pub(super) fn work(self: &Arc<Self>) {
        self.state().attention = true;
        self.run(false);
    }

    fn run(self: &Arc<Self>, may_wait: bool) {
        let by_messages = {
            let mut state = self.state();
            if state.runner.is_some() || state.gone || !state.attention {
                return;
            }
            if state.by_messages && !may_wait {
                self.call_worker(&mut state);
                return;
            }
            state.attention = false;
            state.runner = Some(thread::current().id());
            state.by_messages
        };
        let mut runner = Runner { controller: self, released: false };
        let mut budget = Budget { steps: STEPS, bytes: BYTES };
        let mut access = self.access(may_wait, by_messages);
        loop {
            let stop = match &mut access {
                Some(access) => self.run_steps(access, &mut budget),
                None => Stop::Rest,
            };
            self.tell();
            let mut state = self.state();
            if stop == Stop::Rest && std::mem::take(&mut state.attention) && !state.gone {
                continue;
            }
            release(self, &mut state);
            runner.released = true;
            if stop == Stop::HandOver {
                self.call_worker(&mut state);
            }
            return;
        }
    }

    fn run_steps(&self, access: &mut Access, budget: &mut Budget) -> Stop {
        let mut untold = 0;
        loop {
            access.renew();
            let step = self.state().next_step();
            if matches!(step, Step::Rest) {
                return Stop::Rest;
            }
            if !access.may_wait() && !budget.step() {
                return Stop::HandOver;
            }
            let done = match step {
                Step::Write(completion, slot) => access
                    .publish(slot.address, &completion.encode(slot.submission_head, slot.phase))
                    .and_then(|()| {
                        self.change(access, |state| {
                            state.unwritten = None;
                            state.queues.posted(slot);
                        })
                    })
                    .or_else(|failure| self.fatal(access, failure)),
                Step::Fetch(batch) => {
                    self.fetch(access, batch).or_else(|failure| self.fatal(access, failure))
                }
                Step::Execute { queue, command } => {
                    let weight = if queue == 0 { 0 } else { io::weight(self.namespace(), &command) };
                    if !access.may_wait() && !budget.spend(weight) {
                        return Stop::HandOver;
                    }
                    untold += weight.min(TELL_AFTER);
                    self.execute(access, queue, &command)
                }
                Step::ShutDown => {
                    if !access.may_wait() && self.namespace().is_flushed_slowly() {
                        return Stop::HandOver;
                    }
                    self.shut_down(access)
                }
                Step::Rest => Ok(()),
            };
            match done {
                Ok(()) | Err(Failure::Reset) => {}
                Err(_) => {
                    let by_messages = access.by_messages();
                    // A reset in between forgets what was learnt of memory.
                    let _ = self.change(access, |state| state.by_messages = by_messages);
                    return Stop::HandOver;
                }
            }
            if untold >= TELL_AFTER || access.may_wait() && access.by_messages() {
                untold = 0;
                self.tell();
            }
        }
    }

    /// Judges a failure to reach a queue: one that is no matter of waiting ends the controller's work.
    fn fatal(&self, access: &Access, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Reset | Failure::WouldBlock => Err(failure),
            Failure::Fault | Failure::Status(_) => self.change(access, State::fail),
        }
    }

    fn fetch(&self, access: &Access, batch: Batch) -> Result<(), Failure> {
        let mut bytes = vec![0; batch.count as usize * COMMAND_SIZE];
        access.read(batch.address, &mut bytes)?;
        let commands = bytes.chunks_exact(COMMAND_SIZE).map(|bytes| {
            let mut entry = [0; COMMAND_SIZE];
            entry.copy_from_slice(bytes);
            (batch.queue, Command::parse(&entry))
        });
        self.change(access, |state| {
            state.fetched.extend(commands);
            state.queues.fetched(batch);
        })
    }

    fn execute(&self, access: &Access, queue: u16, command: &Command) -> Result<(), Failure> {
        let outcome = if queue == 0 {
            admin::execute(self, access, command)
        } else {
            io::execute(self, access, command)
        };
        let id = command.id();
        let completion = match outcome {
            Ok(Outcome::Done(result)) => Some(Completion::success(queue, id, result)),
            Ok(Outcome::Later) => None,
            Err(Failure::Status(status)) => Some(Completion::failure(queue, id, status)),
            Err(Failure::Fault) => Some(Completion::failure(queue, id, Status::DATA_TRANSFER_ERROR)),
            Err(failure) => return Err(failure),
        };
        self.change(access, |state| {
            state.fetched.pop_front();
            if let Some(completion) = completion {
                if completion.status != Status::SUCCESS {
                    state.records.failed(queue, command, completion.status);
                }
                state.complete(completion);
            }
        })
    }

    fn shut_down(&self, access: &Access) -> Result<(), Failure> {
        // What cannot be written is lost, and the host did not ask to hear of it.
        let _ = self.namespace().flush();
        self.change(access, |state| {
            state.shutdown = false;
            state.registers.set_shutdown(true);
        })
    }

    fn call_worker(self: &Arc<Self>, state: &mut State) {
        state.worker.called = true;
        if state.worker.exists {
            self.changed.notify_all();
            return;
        }
        let controller = Arc::clone(self);
        let name = "vfio-nvme".to_owned();
        state.worker.exists = thread::Builder::new().name(name).spawn(move || controller.serve()).is_ok();
        if !state.worker.exists {
            state.fail();
        }
    }

    fn serve(self: Arc<Self>) {
        loop {
            {
                let mut state = self.state();
                let idle = |state: &mut State| !state.worker.called && !state.gone;
                let _bounded = self.changed.wait_while_for(&mut state, idle, IDLE);
                if state.gone || !state.worker.called {
                    state.worker.exists = false;
                    return;
                }
                state.worker.called = false;
                state.attention = true;
            }
            self.run(true);
        }
    }
}
