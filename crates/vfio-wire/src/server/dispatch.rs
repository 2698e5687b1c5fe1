//! From a request to whoever answers it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use vfio_device::EventFd;
use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::connection::{Connection, ReplyTo};
use super::late::Pending;
use crate::message::{Command, HEADER_SIZE, Header, Kind, RegionAccess};
use crate::socket::Frame;

/// What a request is answered with.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// The body has room for the header in front.
    pub(super) framed: bool,
    /// Memory whose descriptor goes with the reply.
    pub(super) memory: Option<Memory>,
    /// Events whose descriptors do.
    pub(super) events: Vec<EventFd>,
}

impl Answer {
    pub(super) fn body(body: Vec<u8>) -> Self {
        Self { body, ..Self::default() }
    }

    /// An answer to a region access: no other is asked for as often, so it is put together in one piece.
    pub(super) fn access(access: RegionAccess, data: &[u8]) -> Self {
        let mut body = Vec::with_capacity(HEADER_SIZE + RegionAccess::SIZE + data.len());
        body.extend_from_slice(&[0; HEADER_SIZE]);
        access.write(&mut body);
        body.extend_from_slice(data);
        Self { body, framed: true, ..Self::default() }
    }

    /// Takes the message out that answers the request `id`.
    pub(super) fn message(&mut self, id: u16, command: u16) -> Vec<u8> {
        let kind = Kind::Reply { error: None };
        if !self.framed {
            return Header::message(id, command, kind, &self.body);
        }
        let mut message = std::mem::take(&mut self.body);
        let size = u32::try_from(message.len()).expect("answers are far below 4 GiB");
        message[..HEADER_SIZE].copy_from_slice(&Header { id, command, size, kind }.bytes());
        message
    }

    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// The descriptors that go with the reply.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let events = self.events.iter().filter_map(|event| event.as_fd().ok().flatten());
        self.memory.iter().filter_map(Memory::fd).chain(events).collect()
    }
}

impl Connection {
    /// Answers a request, now or later, and gives the memory of its body back. Descriptors that no one asked for are closed
    /// and refused.
    pub(super) fn dispatch(self: &Arc<Self>, to: ReplyTo, frame: Frame) -> Vec<u8> {
        let pending = Pending::new(self.clone(), to, super::flow::cost(&frame));
        let Frame { header, body, fds } = frame;
        self.dispatch_parts(pending, header, &body, fds);
        body
    }

    fn dispatch_parts(self: &Arc<Self>, pending: Pending, header: Header, body: &[u8], fds: Vec<OwnedFd>) {
        let Some(command) = Command::from_number(header.command) else {
            return pending.answer(Err(Errno::ENOSYS));
        };
        let takes_fds = matches!(command, Command::DmaMap | Command::DeviceSetIrqs);
        if !fds.is_empty() && (!takes_fds || fds.len() > self.max_fds) {
            return pending.answer(Err(Errno::EINVAL));
        }
        let result = match command {
            Command::RegionRead => return self.region_read(pending, body),
            Command::RegionWrite => return self.region_write(pending, body),
            Command::RegionWriteMulti => return self.region_write_multi(pending, body),
            Command::DmaMap => self.dma_map(body, fds),
            Command::DmaUnmap => self.dma_unmap(body),
            Command::DeviceGetInfo => self.device_info(body),
            Command::DeviceGetRegionInfo => self.region_info(body),
            Command::DeviceGetRegionIoFds => self.region_io_fds(body),
            Command::DeviceGetIrqInfo => self.irq_info(body),
            Command::DeviceSetIrqs => self.set_irqs(body, fds),
            Command::DeviceReset => {
                if body.is_empty() {
                    self.device.reset().map(|()| Answer::empty())
                } else {
                    Err(Errno::EINVAL)
                }
            }
            // A version is said once, at the beginning; the client does not read or write its own memory here.
            Command::Version | Command::DmaRead | Command::DmaWrite => Err(Errno::EINVAL),
            Command::DeviceFeature => self.device_feature(body),
            Command::MigDataRead => self.migration_read(body),
            Command::MigDataWrite => self.migration_write(body),
            // Reserved: the log of written pages is a feature.
            Command::DirtyPages => Err(Errno::EOPNOTSUPP),
        };
        pending.answer(result);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("socket", &self.socket.as_fd()).finish_non_exhaustive()
    }
}
