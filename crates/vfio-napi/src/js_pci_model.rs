//! A PCI model in JavaScript.
//!
//! On the thread of the model an access is a plain call; other threads wait for a turn of its event loop, but for
//! accesses that may be answered later. JavaScript tells by `false` that an access failed, and by a promise that it will be
//! answered later. Accesses reach the model in the order in which they came; it may have several open at once.

mod unanswered;

use std::sync::{Arc, mpsc};
use std::thread::ThreadId;

use parking_lot::RwLock;
use vfio_device::ops::{Completion, complete};
use vfio_device::pci::{PciModel, ResetKind};
use vfio_uapi::Errno;

use crate::js::{Argument, Callback, Outcome};
use unanswered::{Access, Answer, Unanswered};

/// The functions of a model. One that is missing reads as zeros and takes writes without effect.
#[derive(Default, Clone)]
pub(crate) struct Functions {
    /// (bar, offset, data)
    pub(crate) read: Option<Arc<Callback>>,
    /// (bar, offset, data)
    pub(crate) write: Option<Arc<Callback>>,
    /// (offset, width)
    pub(crate) config_written: Option<Arc<Callback>>,
    /// ()
    pub(crate) reset: Option<Arc<Callback>>,
}

/// Emulates a function by JavaScript, until it is detached.
#[derive(Default)]
pub(crate) struct JsPciModel {
    functions: RwLock<Functions>,
    unanswered: Arc<Unanswered>,
}

impl JsPciModel {
    /// Makes a model of functions.
    pub(crate) fn new(functions: Functions) -> Self {
        Self { functions: RwLock::new(functions), unanswered: Arc::default() }
    }

    /// Lets JavaScript go: from now on nothing answers.
    pub(crate) fn detach(&self) {
        let functions = std::mem::take(&mut *self.functions.write());
        self.unanswered.abandon();
        drop(functions);
    }

    /// Picks a function out, so that no lock is held while it runs.
    fn pick(&self, which: impl FnOnce(&Functions) -> &Option<Arc<Callback>>) -> Option<Arc<Callback>> {
        which(&self.functions.read()).clone()
    }

    /// Runs an access on the thread of the model: at once when this is it, at a turn of its loop when it is not.
    fn submit(&self, access: Access) {
        let unanswered = self.unanswered.clone();
        let realm = access.function.realm().clone();
        if realm.is_here() {
            unanswered.run(access);
        } else {
            realm.post(move |_| unanswered.run(access));
        }
    }
}

fn place(bar: u8, offset: u64) -> [Argument; 2] {
    [Argument::U32(bar.into()), Argument::U64(offset)]
}

impl PciModel for JsPciModel {
    /// On the thread of the model `EAGAIN` says that it answers later; another thread waits for that.
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        into.fill(0);
        let Some(read) = self.pick(|functions| &functions.read) else { return Ok(()) };
        if read.realm().is_here() {
            return match read.run(&place(bar, offset), into, None) {
                Outcome::Done => Ok(()),
                Outcome::Failed => Err(Errno::EIO),
                Outcome::Later => Err(Errno::EAGAIN),
            };
        }
        let (done, answered) = mpsc::sync_channel(1);
        self.submit_bar_read(bar, offset, into.len(), Box::new(move |answer| drop(done.send(answer))));
        let bytes = answered.recv().map_err(|_| Errno::EIO)??;
        into.copy_from_slice(&bytes);
        Ok(())
    }

    /// A write that the model is done with later counts as done.
    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let Some(write) = self.pick(|functions| &functions.write) else { return Ok(()) };
        let mut bytes = from.to_vec();
        let function = write.clone();
        match write.at_home(move || function.run(&place(bar, offset), &mut bytes, None)) {
            Some(Outcome::Done | Outcome::Later) => Ok(()),
            Some(Outcome::Failed) | None => Err(Errno::EIO),
        }
    }

    fn submit_bar_read(&self, bar: u8, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let Some(function) = self.pick(|functions| &functions.read) else { return done(Ok(vec![0; len])) };
        self.submit(Access {
            function,
            place: place(bar, offset),
            bytes: vec![0; len],
            answer: Answer::new(done),
        });
    }

    fn submit_bar_write(&self, bar: u8, offset: u64, from: Vec<u8>, done: Completion<()>) {
        let Some(function) = self.pick(|functions| &functions.write) else { return done(Ok(())) };
        let answer = Answer::new(complete(move |written: Result<_, Errno>| done(written.map(drop))));
        self.submit(Access { function, place: place(bar, offset), bytes: from, answer });
    }

    fn config_written(&self, offset: u16, len: usize) {
        if let Some(written) = self.pick(|functions| &functions.config_written) {
            written.invoke(&[Argument::U32(offset.into()), Argument::U32(len as u32)]);
        }
    }

    fn runs_on(&self) -> Option<ThreadId> {
        let functions = self.functions.read();
        let any = functions.read.as_ref().or(functions.write.as_ref());
        any.map(|callback| callback.realm().thread())
    }

    /// A reset comes after the accesses that were submitted before it, and lets those go that are not answered yet.
    fn reset(&self, _kind: ResetKind) {
        match self.pick(|functions| &functions.reset) {
            Some(reset) => {
                let unanswered = self.unanswered.clone();
                reset.invoke_after(&[], move || unanswered.abandon());
            }
            None => self.unanswered.abandon(),
        }
    }

    fn abandon(&self) {
        self.unanswered.abandon();
    }
}
