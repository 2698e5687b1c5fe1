//! A PCI model in JavaScript.
//!
//! On the thread of the model an access is a plain call; other threads wait for a turn of its event loop, but for
//! accesses that may be answered later. JavaScript tells by `false` that an access failed.

use std::sync::Arc;
use std::thread::ThreadId;

use parking_lot::RwLock;
use vfio_device::ops::Completion;
use vfio_device::pci::{PciModel, ResetKind};
use vfio_uapi::Errno;

use crate::js::{Argument, Callback};

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
}

impl JsPciModel {
    /// Makes a model of functions.
    pub(crate) fn new(functions: Functions) -> Self {
        Self { functions: RwLock::new(functions) }
    }

    /// Lets JavaScript go: from now on nothing answers.
    pub(crate) fn detach(&self) {
        let functions = std::mem::take(&mut *self.functions.write());
        drop(functions);
    }

    /// Picks a function out, so that no lock is held while it runs.
    fn pick(&self, which: impl FnOnce(&Functions) -> &Option<Arc<Callback>>) -> Option<Arc<Callback>> {
        which(&self.functions.read()).clone()
    }
}

fn place(bar: u8, offset: u64) -> [Argument; 2] {
    [Argument::U32(bar.into()), Argument::U64(offset)]
}

impl PciModel for JsPciModel {
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        into.fill(0);
        match self.pick(|functions| &functions.read) {
            Some(read) if !read.exchange(&place(bar, offset), into) => Err(Errno::EIO),
            _ => Ok(()),
        }
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        match self.pick(|functions| &functions.write) {
            Some(write) if !write.exchange(&place(bar, offset), &mut from.to_vec()) => Err(Errno::EIO),
            _ => Ok(()),
        }
    }

    fn submit_bar_read(&self, bar: u8, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let Some(read) = self.pick(|functions| &functions.read) else { return done(Ok(vec![0; len])) };
        read.exchange_later(place(bar, offset).to_vec(), vec![0; len], |answer| {
            done(answer.ok_or(Errno::EIO));
        });
    }

    fn submit_bar_write(&self, bar: u8, offset: u64, from: Vec<u8>, done: Completion<()>) {
        let Some(write) = self.pick(|functions| &functions.write) else { return done(Ok(())) };
        write.exchange_later(place(bar, offset).to_vec(), from, |answer| {
            done(answer.map(drop).ok_or(Errno::EIO));
        });
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

    fn reset(&self, _kind: ResetKind) {
        if let Some(reset) = self.pick(|functions| &functions.reset) {
            reset.invoke(&[]);
        }
    }
}
