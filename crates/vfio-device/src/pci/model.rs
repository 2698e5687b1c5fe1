//! The interface between a function and what emulates it.

use std::thread::ThreadId;

use vfio_uapi::Errno;

use super::reset::ResetKind;
use crate::ops::Completion;

/// Emulates what is peculiar to a device, in Rust or behind a binding in another language.
///
/// A model is given a [`DeviceBus`](super::DeviceBus) when it is made. It may use the bus from any of these calls, and from
/// threads of its own: nothing here is called with a lock held. Accesses have 1, 2, 4 or 8 naturally aligned bytes when
/// they come from a driver.
pub trait PciModel: Send + Sync {
    /// Reads from a BAR.
    ///
    /// # Errors
    /// Hardware has none: an error is a failure of the emulation, and the reader gets it instead of data.
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// Writes to a BAR.
    ///
    /// # Errors
    /// As for [`bar_read`](Self::bar_read).
    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno>;

    /// Reads from a BAR, now or later.
    fn submit_bar_read(&self, bar: u8, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let mut bytes = vec![0; len];
        let read = self.bar_read(bar, offset, &mut bytes);
        done(read.map(|()| bytes));
    }

    /// Writes to a BAR, now or later.
    fn submit_bar_write(&self, bar: u8, offset: u64, from: Vec<u8>, done: Completion<()>) {
        done(self.bar_write(bar, offset, &from));
    }

    /// Reads from a legacy VGA range; `port` says that `address` is an I/O port. Nothing answers by default.
    ///
    /// # Errors
    /// As for [`bar_read`](Self::bar_read).
    fn vga_read(&self, _port: bool, _address: u32, into: &mut [u8]) -> Result<(), Errno> {
        into.fill(0xff);
        Ok(())
    }

    /// Writes to a legacy VGA range.
    ///
    /// # Errors
    /// As for [`bar_read`](Self::bar_read).
    fn vga_write(&self, _port: bool, _address: u32, _from: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    /// Tells that configuration space was written, after the function did what it does by itself.
    fn config_written(&self, _offset: u16, _len: usize) {}

    /// Tells that nobody waits any more for accesses that are not answered yet: the device was closed.
    fn abandon(&self) {}

    /// Tells which thread must be free for the model to answer, where it depends on one.
    fn runs_on(&self) -> Option<ThreadId> {
        None
    }

    /// Tells whether submitted accesses may be answered later; by default those of a model that depends on a thread.
    fn answers_later(&self) -> bool {
        self.runs_on().is_some()
    }

    /// Resets the model; the function has reset its own registers.
    fn reset(&self, _kind: ResetKind) {}
}
