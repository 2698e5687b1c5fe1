//! Requests on their way to JavaScript, and those that it has not answered yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_fuse::{FileSystem, Operation, Request, this_thread};
use vfio_uapi::Errno;

use crate::js::Callback;

/// The largest offset that JavaScript counts exactly.
const MAX_OFFSET: u64 = (1 << 53) - 1;

/// Something for JavaScript to know.
pub(super) enum Mail {
    /// A request, to be answered by its token.
    Request(u32),
    /// The kernel has forgotten a node so many times.
    Forget(u64, u64),
    /// The caller of a request has got a signal.
    Interrupt(u32),
    /// There will be nothing more.
    Ended(Option<Errno>),
}

/// A file system that leaves all answers to JavaScript.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// The thread of JavaScript.
    home: u32,
}

#[derive(Default)]
struct State {
    wake: Option<Arc<Callback>>,
    /// JavaScript was told that something is in, and has not looked yet.
    woken: bool,
    next: u32,
    mail: VecDeque<Mail>,
    unanswered: HashMap<u32, Request>,
}

impl Inbox {
    /// Makes an inbox on the thread of `wake`, which runs whenever something came into an empty one.
    pub(super) fn new(wake: Arc<Callback>) -> Self {
        Self { state: Mutex::new(State { wake: Some(wake), ..State::default() }), home: this_thread() }
    }

    /// Takes the oldest mail; none: the next wakes.
    pub(super) fn take(&self) -> Option<Mail> {
        let mut state = self.state.lock();
        let taken = state.mail.pop_front();
        state.woken = taken.is_some();
        if matches!(taken, Some(Mail::Ended(_))) {
            let (wake, rest) = (state.wake.take(), std::mem::take(&mut state.unanswered));
            drop(state);
            drop((wake, rest));
        }
        taken
    }

    /// Runs `look` with a request that is not answered yet.
    pub(super) fn with<T>(&self, token: u32, look: impl FnOnce(&mut Request) -> T) -> Option<T> {
        self.state.lock().unanswered.get_mut(&token).map(look)
    }

    /// Takes a request out to answer it; none: it was answered.
    pub(super) fn answering(&self, token: u32) -> Option<Request> {
        self.state.lock().unanswered.remove(&token)
    }

    fn put(&self, make: impl FnOnce(&mut State) -> Option<Mail>) {
        let wake = {
            let mut state = self.state.lock();
            let Some(mail) = make(&mut state) else { return };
            state.mail.push_back(mail);
            if std::mem::replace(&mut state.woken, true) { None } else { state.wake.clone() }
        };
        if let Some(callback) = wake {
            callback.clone().realm().post(move |_| callback.call(&[]));
        }
    }
}

impl State {
    fn free_token(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.unanswered.contains_key(&self.next) {
                return self.next;
            }
        }
    }
}

impl FileSystem for Inbox {
    fn request(&self, request: Request) {
        let Some(request) = super::own::answer(request) else { return };
        if request.caller().tid == self.home {
            // It waits for this answer, which nobody but itself could give.
            return match request.operation() {
                Operation::Flush { .. } => request.reply_done(),
                _ => request.reply_error(Errno::EBUSY),
            };
        }
        if let Some(errno) = beyond(request.operation()) {
            return request.reply_error(errno);
        }
        self.put(|state| {
            let token = state.free_token();
            state.unanswered.insert(token, request);
            Some(Mail::Request(token))
        });
    }

    fn forget(&self, node: u64, lookups: u64) {
        if super::own::is_handle(node) {
            return;
        }
        self.put(|_| Some(Mail::Forget(node, lookups)));
    }

    fn interrupt(&self, id: u64) {
        self.put(|state| {
            let token =
                state.unanswered.iter().find(|(_, request)| request.id() == id).map(|(token, _)| *token);
            token.map(Mail::Interrupt)
        });
    }

    fn ended(&self, reason: Option<Errno>) {
        self.put(|_| Some(Mail::Ended(reason)));
    }
}

/// Refuses what JavaScript cannot express: names that are no text, offsets that it cannot count.
fn beyond(operation: &Operation) -> Option<Errno> {
    let names: [&[u8]; 2] = match operation {
        Operation::Lookup { name } => {
            return std::str::from_utf8(name).is_err().then_some(Errno::ENOENT);
        }
        Operation::Read { offset, .. } | Operation::Write { offset, .. } => {
            return (*offset > MAX_OFFSET).then_some(Errno::EINVAL);
        }
        Operation::Symlink { name, target } => [name, target],
        Operation::Rename { name, new_name, .. } => [name, new_name],
        Operation::Mknod { name, .. }
        | Operation::Mkdir { name, .. }
        | Operation::Unlink { name }
        | Operation::Rmdir { name }
        | Operation::Link { name, .. }
        | Operation::Create { name, .. } => [name, b""],
        _ => return None,
    };
    names.iter().any(|name| std::str::from_utf8(name).is_err()).then_some(Errno::EINVAL)
}
