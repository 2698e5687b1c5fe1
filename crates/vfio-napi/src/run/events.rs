//! What JavaScript is told of a program, and what threads wait for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use parking_lot::Mutex;
use vfio_run::{Ending, Ioctl, Registers};
use vfio_uapi::Errno;

use crate::js::Callback;
use crate::js_bytes::JsBytes;

/// Something that happened to a program. What does not apply is absent.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct RunMail {
    /// `ioctl`, `read`, `write` or `ended`.
    pub kind: &'static str,
    /// Names an ioctl.
    pub id: Option<BigInt>,
    /// Thread that waits for it.
    pub thread: Option<i32>,
    /// Descriptor of the caller's.
    pub fd: Option<i32>,
    /// Request.
    pub request: Option<u32>,
    /// Argument.
    pub argument: Option<BigInt>,
    /// Names an access.
    pub token: Option<u32>,
    /// Node of the file whose mapping was accessed.
    pub node: Option<f64>,
    /// Place in the file.
    pub offset: Option<f64>,
    /// Bytes to be read.
    pub size: Option<u32>,
    /// Bytes that are written.
    pub data: Option<JsBytes>,
    /// Exit code.
    pub code: Option<i32>,
    /// Signal that killed it.
    pub signal: Option<i32>,
    /// Step that failed, and why.
    pub step: Option<String>,
    /// Name of the errno.
    pub errno: Option<&'static str>,
}

type Answer = Result<Vec<u8>, Errno>;

/// Mail for JavaScript.
pub(super) struct Events(Mutex<State>);

struct State {
    wake: Option<Arc<Callback>>,
    woken: bool,
    next: u32,
    mail: VecDeque<RunMail>,
    accesses: HashMap<u32, SyncSender<Answer>>,
}

impl Events {
    pub(super) fn new(wake: Arc<Callback>) -> Self {
        let state = State {
            wake: Some(wake),
            woken: false,
            next: 0,
            mail: VecDeque::new(),
            accesses: HashMap::new(),
        };
        Self(Mutex::new(state))
    }

    /// Takes the oldest mail; none: the next wakes.
    pub(super) fn take(&self) -> Option<RunMail> {
        let mut state = self.0.lock();
        let taken = state.mail.pop_front();
        state.woken = taken.is_some();
        if taken.as_ref().is_some_and(|mail| mail.kind == "ended") {
            let (wake, waiting) = (state.wake.take(), std::mem::take(&mut state.accesses));
            drop(state);
            drop((wake, waiting));
        }
        taken
    }

    /// Answers an access.
    pub(super) fn answer(&self, token: u32, answer: Answer) {
        let waiting = self.0.lock().accesses.remove(&token);
        if let Some(waiting) = waiting {
            // Nobody waits any more: it has ended meanwhile.
            let _ = waiting.send(answer);
        }
    }

    pub(super) fn ioctl(&self, ioctl: Ioctl) {
        self.put(|_| RunMail {
            kind: "ioctl",
            id: Some(ioctl.id.into()),
            thread: Some(ioctl.thread),
            fd: Some(ioctl.fd),
            request: Some(ioctl.request),
            argument: Some(ioctl.argument.into()),
            ..RunMail::default()
        });
    }

    pub(super) fn ended(&self, ending: Ending) {
        let mail = RunMail { kind: "ended", ..RunMail::default() };
        self.put(|_| match ending {
            Ending::Exited(code) => RunMail { code: Some(code), ..mail },
            Ending::Killed(signal) => RunMail { signal: Some(signal), ..mail },
            Ending::Failed(failure) => {
                RunMail { step: Some(failure.step), errno: Some(failure.errno.name()), ..mail }
            }
        });
    }

    fn put(&self, make: impl FnOnce(&mut State) -> RunMail) {
        let wake = {
            let mut state = self.0.lock();
            if state.wake.is_none() {
                return;
            }
            let mail = make(&mut state);
            state.mail.push_back(mail);
            if std::mem::replace(&mut state.woken, true) { None } else { state.wake.clone() }
        };
        if let Some(callback) = wake {
            callback.clone().realm().post(move |_| callback.call(&[]));
        }
    }

    /// Tells of an access and waits for its answer.
    fn access(&self, mail: RunMail) -> Answer {
        let (answer, answered) = sync_channel(1);
        self.put(|state| {
            state.next = state.next.wrapping_add(1);
            state.accesses.insert(state.next, answer);
            RunMail { token: Some(state.next), ..mail }
        });
        answered.recv().unwrap_or(Err(Errno::EIO))
    }
}

/// Accesses to registers, which JavaScript does.
pub(super) struct MappedRegisters(pub(super) Arc<Events>);

impl Registers for MappedRegisters {
    fn read(&self, inode: u64, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let bytes = self.0.access(RunMail {
            kind: "read",
            node: Some(inode as f64),
            offset: Some(offset as f64),
            size: Some(into.len() as u32),
            ..RunMail::default()
        })?;
        if bytes.len() != into.len() {
            return Err(Errno::EIO);
        }
        into.copy_from_slice(&bytes);
        Ok(())
    }

    fn write(&self, inode: u64, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mail = RunMail {
            kind: "write",
            node: Some(inode as f64),
            offset: Some(offset as f64),
            data: Some(from.to_vec().into()),
            ..RunMail::default()
        };
        self.0.access(mail).map(drop)
    }
}
