//! A ring of commands in guest memory, which the IOMMU does by itself (`IOMMUFD_OBJ_HW_QUEUE`).
//!
//! The guest writes commands and rings with the index behind the last one; indexes count up without end, modulo 2^32.
//! At a command that cannot be done the queue stops, notes why, and goes on when that is cleared.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::access::IoasAccess;
use super::virtual_iommu::{COMMAND_SIZE, CommandError, VirtualIommu};
use crate::Iova;

/// Most entries of a ring.
const MOST: u64 = 1 << 16;

/// Does what the entries of a ring say.
pub struct CommandQueue {
    viommu: Arc<VirtualIommu>,
    memory: IoasAccess,
    index: u32,
    base: Iova,
    entries: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    producer: u32,
    consumer: u32,
    error: Option<CommandError>,
}

impl CommandQueue {
    /// Makes queue `index` of a virtual IOMMU over `length` bytes at `base`, which it pins.
    ///
    /// # Errors
    /// `EINVAL` the entries are not a power of two, or too many, or `base` is no multiple of theirs; otherwise as for
    /// pinning: `ENOENT` nothing is mapped there, `EFAULT`, `ENOMEM`.
    pub fn new(viommu: &Arc<VirtualIommu>, index: u32, base: Iova, length: u64) -> Result<Arc<Self>, Errno> {
        let entries = length / COMMAND_SIZE as u64;
        let whole = length.is_multiple_of(COMMAND_SIZE as u64) && entries.is_power_of_two();
        if !whole || entries > MOST || !base.is_multiple_of(COMMAND_SIZE as u64) {
            return Err(Errno::EINVAL);
        }
        let first = base & !(PAGE_SIZE - 1); // pins are whole pages
        let length = base.checked_add(length).ok_or(Errno::EINVAL)? - first;
        let memory = IoasAccess::locked();
        memory.attach(Some(viommu.ioas()))?;
        if let Err(errno) = memory.pin(first, length, false) {
            memory.attach(None)?;
            return Err(errno);
        }
        let (viommu, state) = (Arc::clone(viommu), Mutex::default());
        Ok(Arc::new(Self { viommu, memory, index, base, entries: entries as u32, state }))
    }

    /// Says up to where there are commands, and does them.
    pub fn ring(&self, producer: u32) {
        self.work(|state| state.producer = producer);
    }

    /// Clears the error and goes on with the command that it was at.
    pub fn resume(&self) {
        self.work(|state| state.error = None);
    }

    /// Returns the index of the next command to be done, and what it failed with.
    #[must_use]
    pub fn status(&self) -> (u32, Option<CommandError>) {
        let state = self.state.lock();
        (state.consumer, state.error)
    }

    /// Returns the index that was rung last.
    #[must_use]
    pub fn producer(&self) -> u32 {
        self.state.lock().producer
    }

    /// Lets go of its memory (idempotent): commands fail from now on.
    pub fn close(&self) {
        let let_go = self.memory.attach(None);
        debug_assert!(let_go.is_ok(), "nobody else moves it");
    }

    fn work(&self, change: impl FnOnce(&mut State)) {
        let stopped = {
            let mut state = self.state.lock();
            change(&mut state);
            self.run(&mut state)
        };
        if let Some((at, error)) = stopped {
            self.viommu.report_queue(self.index, at, error);
        }
    }

    fn run(&self, state: &mut State) -> Option<(u64, CommandError)> {
        if state.error.is_some() {
            return None;
        }
        let stop = |state: &mut State, at: Iova, error: CommandError| {
            state.error = Some(error);
            Some((at, error))
        };
        if state.producer.wrapping_sub(state.consumer) > self.entries {
            return stop(state, self.base, CommandError::Index);
        }
        while state.consumer != state.producer {
            let slot = u64::from(state.consumer & (self.entries - 1));
            let at = self.base + slot * COMMAND_SIZE as u64;
            let mut bytes = [0; COMMAND_SIZE];
            if self.memory.read(at, &mut bytes).is_err() {
                return stop(state, at, CommandError::Memory);
            }
            if let Err(error) = self.viommu.execute(&bytes) {
                return stop(state, at, error);
            }
            state.consumer = state.consumer.wrapping_add(1);
        }
        None
    }
}

impl Drop for CommandQueue {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for CommandQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandQueue").field("index", &self.index).finish_non_exhaustive()
    }
}
