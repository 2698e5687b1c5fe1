//! An NVMe controller with one namespace, as QEMU's 1b36:0010 presents itself.
//!
//! BAR 0 has 16 KiB of memory space: registers, doorbells from 0x1000 on, the MSI-X table at 0x2000, its pending bits at
//! 0x3000. There is one namespace, whose blocks lie in any [`Memory`](vfio_memory::Memory); up to 64 queue pairs for I/O
//! with a vector each, or the interrupt line for all; data is described by PRPs. Commands: Identify, creating and
//! deleting queues, features, log pages, asynchronous events, Abort; Read, Write, Flush, Write Zeroes, Dataset
//! Management.
//!
//! A write to a doorbell returns without waiting for anything. Where memory can be reached at once and the work is small,
//! it is done when the write returns; otherwise a thread of the controller does it, which exists only while there is such
//! work and ends with the controller. Memory that is reachable from one thread only is thus within reach of small work
//! from that thread, not of more.
//!
//! Whatever the host writes is checked: a bad field gives the status that the specification has for it, a bad doorbell an
//! asynchronous event, a queue in memory that refuses access a controller that has failed (`CSTS.CFS`) until its reset.

mod access;
mod admin;
mod command;
mod config;
mod controller;
mod event;
mod feature;
mod identify;
mod io;
mod log_page;
mod mailbox;
mod namespace;
mod profile;
mod prp;
mod queue;
mod registers;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use vfio_uapi::Errno;

pub use config::NvmeConfig;

use crate::pci::{PciFunction, PciModel, ResetKind};
use controller::Controller;

/// Emulates the controller behind its function.
#[derive(Debug)]
pub struct Nvme(Arc<Controller>);

impl Nvme {
    /// Makes a function with the controller behind it.
    ///
    /// # Errors
    /// `EINVAL` no or too many queue pairs, a text that is too long or not printable, a block size that is neither 512 nor
    /// 4096, memory for not one block.
    pub fn function(config: NvmeConfig) -> Result<Arc<PciFunction>, Errno> {
        let profile = config.profile()?;
        let namespace = config.namespace()?;
        PciFunction::new(config.function_spec(), |bus| {
            Arc::new(Self(Controller::new(profile, namespace, bus)))
        })
    }
}

impl PciModel for Nvme {
    fn bar_read(&self, _bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.0.read(offset, into);
        Ok(())
    }

    fn bar_write(&self, _bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        // The specification has accesses of 4 or 8 aligned bytes; others change nothing.
        if !offset.is_multiple_of(4) || !matches!(from.len(), 4 | 8) {
            return Ok(());
        }
        for (at, bytes) in (offset..).step_by(4).zip(from.chunks_exact(4)) {
            self.0.write(at, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
        Ok(())
    }

    fn config_written(&self, _offset: u16, _len: usize) {
        // Messages may have been enabled, which the line gives way to.
        self.0.update_line();
    }

    fn reset(&self, _kind: ResetKind) {
        self.0.reset();
    }
}

impl Drop for Nvme {
    fn drop(&mut self) {
        self.0.end();
    }
}
