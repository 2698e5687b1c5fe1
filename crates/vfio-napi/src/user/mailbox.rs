//! Requests to JavaScript from other threads, and the answers to them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
use vfio_device::ops::{IrqData, IrqHeader};
use vfio_iommu::{DmaSpace, IovaRange};
use vfio_uapi::Errno;

use super::layout::Layout;
use crate::js::Callback;

/// What is asked of a device.
pub(super) enum Request {
    Open(Arc<dyn DmaSpace>),
    Close,
    Info,
    RegionInfo(u32),
    IrqInfo(u32),
    SetIrqs(IrqHeader, IrqData),
    Reset,
    Read { region: u32, offset: u64, len: usize },
    Write { region: u32, offset: u64, data: Vec<u8> },
    DmaUnmap(IovaRange),
    Feature { flags: u32, data: Vec<u8> },
    MigrationRead(usize),
    MigrationWrite(Vec<u8>),
}

/// What JavaScript answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) numbers: Vec<u64>,
    pub(super) data: Vec<u8>,
    /// Of a device that was opened.
    pub(super) layout: Option<Layout>,
}

/// Runs with the answer, once.
type Reply = Box<dyn FnOnce(Result<Answer, Errno>) + Send>;

/// Carries requests to the thread of one callback.
pub(super) struct Mailbox {
    wake: Arc<Callback>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// JavaScript was told that something is in, and has not looked yet.
    woken: bool,
    next: u32,
    unread: VecDeque<(u32, Request)>,
    unanswered: HashMap<u32, Reply>,
}

impl Mailbox {
    /// Makes a mailbox; `wake` runs on its thread whenever something came into an empty box.
    pub(super) fn new(wake: Arc<Callback>) -> Arc<Self> {
        Arc::new(Self { wake, state: Mutex::default() })
    }

    /// Returns the thread that answers.
    pub(super) fn thread(&self) -> ThreadId {
        self.wake.realm().thread()
    }

    /// Puts a request in; `reply` runs on the thread of JavaScript, or here with `ENODEV` when the box is closed.
    pub(super) fn submit(&self, request: Request, reply: Reply) {
        let wake = {
            let mut state = self.state.lock();
            if state.closed {
                drop(state);
                return reply(Err(Errno::ENODEV));
            }
            let token = state.free_token();
            state.unread.push_back((token, request));
            state.unanswered.insert(token, reply);
            !std::mem::replace(&mut state.woken, true)
        };
        if wake {
            let callback = self.wake.clone();
            self.wake.realm().post(move |_| callback.call(&[]));
        }
    }

    /// Puts a request in and waits for the answer, no longer than `patience`.
    ///
    /// # Errors
    /// What JavaScript refuses with; `ENODEV` closed; `ETIMEDOUT`; `EDEADLK` called on the thread of JavaScript itself.
    pub(super) fn call(&self, request: Request, patience: Duration) -> Result<Answer, Errno> {
        if self.wake.realm().is_here() {
            return Err(Errno::EDEADLK);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(request, Box::new(move |answer| drop(sender.send(answer))));
        receiver.recv_timeout(patience).unwrap_or(Err(Errno::ETIMEDOUT))
    }

    /// Takes the oldest request out; none: the box is empty, and the next request wakes JavaScript again.
    pub(super) fn take(&self) -> Option<(u32, Request)> {
        let mut state = self.state.lock();
        let taken = state.unread.pop_front();
        state.woken = taken.is_some();
        taken
    }

    /// Answers a request, if anybody still waits for that.
    pub(super) fn answer(&self, token: u32, answer: Result<Answer, Errno>) {
        let reply = self.state.lock().unanswered.remove(&token);
        if let Some(reply) = reply {
            reply(answer);
        }
    }

    /// Refuses everything so far with `ECANCELED`: whoever asked has gone.
    pub(super) fn abandon(&self) {
        let (unread, unanswered) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.unread), std::mem::take(&mut state.unanswered))
        };
        drop(unread);
        for reply in unanswered.into_values() {
            reply(Err(Errno::ECANCELED));
        }
    }

    /// Refuses everything, now and later, with `ENODEV`.
    pub(super) fn close(&self) {
        let (unread, unanswered) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.unread), std::mem::take(&mut state.unanswered))
        };
        drop(unread);
        for reply in unanswered.into_values() {
            reply(Err(Errno::ENODEV));
        }
    }
}

impl State {
    fn free_token(&mut self) -> u32 {
        // Ends: memory is exhausted long before all numbers are.
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.unanswered.contains_key(&self.next) {
                return self.next;
            }
        }
    }
}
