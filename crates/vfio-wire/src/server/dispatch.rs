//! From a request to whoever answers it.

use std::os::fd::AsFd;
use std::sync::Arc;

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::connection::{Connection, ReplyTo};
use crate::message::Command;
use crate::socket::Frame;

/// What a request is answered with at once.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// Memory whose descriptor goes with the reply.
    pub(super) memory: Option<Memory>,
}

impl Answer {
    pub(super) fn body(body: Vec<u8>) -> Self {
        Self { body, memory: None }
    }

    pub(super) fn empty() -> Self {
        Self::body(Vec::new())
    }
}

/// A request under way: it is answered once, and counted until then.
pub(super) struct Pending {
    connection: Arc<Connection>,
    to: ReplyTo,
    bytes: usize,
}

impl Pending {
    pub(super) fn answer(self, result: Result<Answer, Errno>) {
        match result {
            Ok(Answer { body, memory }) => {
                let fd = memory.as_ref().and_then(Memory::fd);
                self.connection.reply(&self.to, &body, fd.as_slice());
            }
            Err(errno) => self.connection.refuse(&self.to, errno),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.connection.flow.finish(self.bytes);
    }
}

impl Connection {
    /// Answers a request, now or later. Descriptors that no one asked for are closed and refused.
    pub(super) fn dispatch(self: &Arc<Self>, to: ReplyTo, frame: Frame) {
        let pending = Pending { connection: self.clone(), bytes: frame.body.len(), to };
        let Frame { header, body, fds } = frame;
        let Some(command) = Command::from_number(header.command) else {
            return pending.answer(Err(Errno::ENOSYS));
        };
        let takes_fds = matches!(command, Command::DmaMap | Command::DeviceSetIrqs);
        if !takes_fds && !fds.is_empty() {
            return pending.answer(Err(Errno::EINVAL));
        }
        let result = match command {
            Command::RegionRead => return self.region_read(pending, &body),
            Command::RegionWrite => return self.region_write(pending, &body),
            Command::RegionWriteMulti => return self.region_write_multi(pending, &body),
            Command::DmaMap => self.dma_map(&body, fds),
            Command::DmaUnmap => self.dma_unmap(&body),
            Command::DeviceGetInfo => self.device_info(&body),
            Command::DeviceGetRegionInfo => self.region_info(&body),
            Command::DeviceGetRegionIoFds => self.region_io_fds(&body),
            Command::DeviceGetIrqInfo => self.irq_info(&body),
            Command::DeviceSetIrqs => self.set_irqs(&body, fds),
            Command::DeviceReset => {
                if body.is_empty() {
                    self.device.reset().map(|()| Answer::empty())
                } else {
                    Err(Errno::EINVAL)
                }
            }
            // A version is said once, at the beginning; the client does not read or write its own memory here.
            Command::Version | Command::DmaRead | Command::DmaWrite => Err(Errno::EINVAL),
            Command::DirtyPages | Command::DeviceFeature | Command::MigDataRead | Command::MigDataWrite => {
                Err(Errno::EOPNOTSUPP)
            }
        };
        pending.answer(result);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("socket", &self.socket.as_fd()).finish_non_exhaustive()
    }
}
