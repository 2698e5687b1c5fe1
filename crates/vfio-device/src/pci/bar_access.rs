//! Access to what lies behind a function's BARs.

use vfio_uapi::Errno;

use super::bar::BarSpace;
use super::function::PciFunction;
use crate::ops::Completion;

/// Says who answers an access.
enum Answer {
    /// It is answered: the bytes read, or nothing for a write.
    Done(Result<(), Errno>),
    /// The model answers.
    Model,
}

impl PciFunction {
    /// Reads from a BAR as the host's processor does; nobody answers (all ones) while the function does not decode
    /// or is cut off.
    ///
    /// # Errors
    /// `EINVAL` no such BAR or outside of it; what the model fails with.
    pub fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        match self.route_read(bar, offset, into)? {
            Answer::Done(result) => result,
            Answer::Model => self.model().bar_read(bar, offset, into),
        }
    }

    /// Writes to a BAR as the host's processor does; it is lost while the function does not decode or is cut
    /// off.
    ///
    /// # Errors
    /// As for [`bar_read`](Self::bar_read).
    pub fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        match self.route_write(bar, offset, from)? {
            Answer::Done(result) => result,
            Answer::Model => self.model().bar_write(bar, offset, from),
        }
    }

    /// Tells whether submitted accesses may be answered later.
    #[must_use]
    pub fn answers_later(&self) -> bool {
        self.model().answers_later()
    }

    /// Reads from a BAR, now or later.
    pub fn submit_bar_read(&self, bar: u8, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let mut bytes = vec![0; len];
        match self.route_read(bar, offset, &mut bytes) {
            Ok(Answer::Model) => self.model().submit_bar_read(bar, offset, len, done),
            Ok(Answer::Done(result)) => done(result.map(|()| bytes)),
            Err(errno) => done(Err(errno)),
        }
    }

    /// Writes to a BAR, now or later.
    pub fn submit_bar_write(&self, bar: u8, offset: u64, from: Vec<u8>, done: Completion<()>) {
        match self.route_write(bar, offset, &from) {
            Ok(Answer::Model) => self.model().submit_bar_write(bar, offset, from, done),
            Ok(Answer::Done(result)) => done(result),
            Err(errno) => done(Err(errno)),
        }
    }

    fn route_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<Answer, Errno> {
        let spec = self.checked_bar(bar, offset, into.len())?;
        if !self.decodes(spec.space) {
            into.fill(0xff);
            return Ok(Answer::Done(Ok(())));
        }
        if self.caps.msix.is_some() {
            let state = self.state.lock();
            if let Some(table) = state.msix.as_ref().filter(|table| table.covers(bar, offset, into.len())) {
                table.read(bar, offset, into);
                return Ok(Answer::Done(Ok(())));
            }
        }
        Ok(match spec.memory_at(offset, into.len()) {
            Some((memory, at)) => Answer::Done(memory.read(at, into)),
            None => Answer::Model,
        })
    }

    fn route_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<Answer, Errno> {
        let spec = self.checked_bar(bar, offset, from.len())?;
        if !self.decodes(spec.space) {
            return Ok(Answer::Done(Ok(())));
        }
        if self.caps.msix.is_some() {
            let mut state = self.state.lock();
            if let Some(table) = state.msix.as_mut().filter(|table| table.covers(bar, offset, from.len())) {
                table.write(bar, offset, from);
                let aftermath = self.settle(&mut state);
                drop(state);
                aftermath.run(self);
                return Ok(Answer::Done(Ok(())));
            }
        }
        // The value first: whoever the doorbell wakes finds it.
        let stored = spec.memory_at(offset, from.len()).map(|(memory, at)| memory.write(at, from));
        let rung = spec.ring(offset, from);
        Ok(match stored {
            Some(result) => Answer::Done(result),
            None if rung => Answer::Done(Ok(())),
            None => Answer::Model,
        })
    }

    fn checked_bar(&self, bar: u8, offset: u64, len: usize) -> Result<&super::BarSpec, Errno> {
        let spec = self.bar(usize::from(bar)).ok_or(Errno::EINVAL)?;
        let end = offset.checked_add(len as u64).ok_or(Errno::EINVAL)?;
        if end > spec.size { Err(Errno::EINVAL) } else { Ok(spec) }
    }

    /// Reads from the expansion ROM; what its image does not fill is all ones, and so is everything while memory
    /// decoding is off.
    ///
    /// # Errors
    /// `EINVAL` there is none, or outside of it.
    pub fn rom_read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let rom = self.rom().ok_or(Errno::EINVAL)?;
        let end = offset.checked_add(into.len() as u64).ok_or(Errno::EINVAL)?;
        if end > u64::from(rom.size) {
            return Err(Errno::EINVAL);
        }
        let answers = self.decodes(BarSpace::Memory32);
        for (byte, at) in into.iter_mut().zip(offset..) {
            let stored = usize::try_from(at).ok().and_then(|at| rom.image.get(at));
            *byte = stored.copied().filter(|_| answers).unwrap_or(0xff);
        }
        Ok(())
    }
}
