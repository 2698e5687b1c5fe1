//! The controller: what the host writes, and the thread of work that follows from it.
//!
//! Whoever rings a doorbell works on the commands himself, up to a limit, with accesses to memory that never wait. What
//! is beyond the limit, takes long, or concerns memory reachable by messages only, is left to the [worker](super::worker).
//! There is one runner at a time: commands are done one after the other. No lock is held while memory is reached, an
//! interrupt is sent or anybody else's code runs; what the runner learns under the lock he checks again after each
//! access, by the generation that every reset ends. The function's lock comes before the controller's.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::access::Access;
use super::mailbox::Mailbox;
use super::namespace::Namespace;
use super::profile::Profile;
use super::queue::Rung;
use super::registers::{Configuration, DOORBELLS, Effect, Registers};
use super::state::State;
use super::status::Failure;
use crate::pci::{DeviceBus, InterruptMode};

/// How long a controller that is disabled waits for memory's answers before it gives them up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a reset waits for a runner on another thread to notice.
const RESET_WAIT: Duration = Duration::from_millis(100);

/// Holds a controller.
#[derive(Debug)]
pub(super) struct Controller {
    profile: Profile,
    namespace: Namespace,
    bus: DeviceBus,
    mailbox: Arc<Mailbox>,
    state: Mutex<State>,
    /// Tells that the worker is called, that the runner rests, or that the controller is gone.
    pub(super) changed: Condvar,
}

impl Controller {
    /// Makes a controller.
    pub(super) fn new(profile: Profile, namespace: Namespace, bus: DeviceBus) -> Arc<Self> {
        let state = Mutex::new(State::new(profile.queue_pairs));
        let mailbox = Arc::default();
        Arc::new(Self { profile, namespace, bus, mailbox, state, changed: Condvar::new() })
    }

    /// Returns who the controller is.
    pub(super) const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the namespace.
    pub(super) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Locks the state.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells how the function is set up to interrupt.
    pub(super) fn interrupt_mode(&self) -> InterruptMode {
        self.bus.interrupt_mode()
    }

    /// Makes the way to memory for a runner; none once the function is gone.
    pub(super) fn access(&self, may_wait: bool, by_messages: bool) -> Option<Access> {
        Some(Access::new(self.bus.dma()?, Arc::clone(&self.mailbox), may_wait, by_messages))
    }

    /// Changes the state on behalf of a generation.
    ///
    /// # Errors
    /// The controller was reset meanwhile; nothing changes then.
    pub(super) fn change<T>(
        &self,
        access: &Access,
        change: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Failure> {
        let mut state = self.state.lock();
        if self.mailbox.generation() == access.generation() {
            Ok(change(&mut state))
        } else {
            Err(Failure::Reset)
        }
    }

    /// Reads registers; doorbells read as zero.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        self.state.lock().registers.read(offset, into);
    }

    /// Writes four aligned bytes to a register or a doorbell.
    pub(super) fn write(self: &Arc<Self>, offset: u64, value: u32) {
        if offset >= DOORBELLS {
            self.ring(offset, value);
            return;
        }
        let mut state = self.state.lock();
        match state.registers.write(offset, value) {
            Effect::None => {}
            Effect::InterruptMask => {
                drop(state);
                self.update_line();
            }
            Effect::Configuration { before } => {
                self.configure(&mut state, before);
                drop(state);
                self.update_line();
                self.work();
            }
        }
    }

    fn ring(self: &Arc<Self>, offset: u64, value: u32) {
        let mut state = self.state.lock();
        if !state.registers.is_ready() {
            return;
        }
        let rung = state.queues.ring(offset, value);
        if let Err(bad) = rung {
            state.events.bad_doorbell(bad);
        }
        drop(state);
        if rung == Ok(Rung::Completion) {
            self.update_line();
        }
        self.work();
    }

    fn configure(&self, state: &mut State, before: Configuration) {
        let after = state.registers.configuration();
        if before.enabled() && !after.enabled() {
            self.mailbox.begin(PATIENCE);
            state.clear();
            state.registers.disable();
            // A runner on another thread may be in the middle of an access.
            let busy = state.runner.is_some_and(|runner| runner != thread::current().id());
            state.stopping = busy && state.registers.is_ready();
            if !state.stopping {
                state.registers.set_ready(false);
            }
        }
        if !before.enabled() && after.enabled() {
            state.start();
        }
        match (before.shuts_down(), after.shuts_down()) {
            (false, true) if state.registers.is_ready() && !state.stopping => {
                state.shutdown = true;
                state.registers.set_shutdown(false);
            }
            (false, true) => state.registers.set_shutdown(true),
            (true, false) => state.registers.clear_shutdown(),
            _ => {}
        }
    }

    /// Resets everything, as power-on does.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        self.mailbox.begin(Duration::ZERO);
        state.clear();
        state.registers = Registers::default();
        state.stopping = false;
        // The function lets its line go by itself, and a runner may have asserted it since.
        state.line = None;
        self.await_runner(&mut state);
        drop(state);
        self.update_line();
    }

    /// Waits a moment for a runner on another thread, which after a reset has nothing left to do.
    fn await_runner(&self, state: &mut MutexGuard<'_, State>) {
        let runner = state.runner;
        if runner.is_none_or(|runner| runner == thread::current().id()) {
            return;
        }
        let _bounded = self.changed.wait_while_for(state, |state| state.runner == runner, RESET_WAIT);
    }

    /// Ends the controller: nothing is done any more, and the worker goes.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        self.mailbox.begin(Duration::ZERO);
        state.clear();
        state.gone = true;
        self.changed.notify_all();
    }

    /// Sends the interrupts of queues with something new.
    pub(super) fn tell(&self) {
        let vectors = self.state.lock().queues.take_untold();
        if !vectors.is_empty() && self.interrupt_mode() == InterruptMode::Msix {
            for vector in vectors {
                // Vectors are checked when a queue is made; without its function nobody hears of them.
                let _ = self.bus.msix(u32::from(vector));
            }
        }
        self.update_line();
    }

    /// Sets the interrupt line to what the queues want; while messages are enabled that is nothing.
    pub(super) fn update_line(&self) {
        let by_line = self.interrupt_mode() == InterruptMode::Line;
        if self.state.lock().line_is(by_line) {
            return;
        }
        self.bus.intx_as(|| {
            let mut state = self.state.lock();
            let level = by_line && state.wants_line();
            state.line = Some(level);
            level
        });
    }
}
