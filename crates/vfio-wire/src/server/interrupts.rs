//! Requests that set interrupts up, trigger, mask or unmask them.

use std::os::fd::OwnedFd;

use vfio_device::EventFd;
use vfio_device::ops::{IrqData, IrqFd, IrqHeader, IrqPayload, IrqSet};
use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_TYPE_MASK};

use super::connection::Connection;
use super::dispatch::Answer;
use crate::message::SetIrqsBody;

impl Connection {
    /// Hands the request to the device. Descriptors come beside the message, so `argsz` does not count them; entries
    /// without one are taken to be -1, which lets an interrupt go.
    ///
    /// `EINVAL` short, more descriptors than entries, one that is no eventfd; what the device refuses with.
    pub(super) fn set_irqs(&self, body: &[u8], fds: Vec<OwnedFd>) -> Result<Answer, Errno> {
        let (head, data) = SetIrqsBody::read(body)
            .filter(|(head, _)| head.argsz >= SetIrqsBody::SIZE)
            .ok_or(Errno::EINVAL)?;
        let kind = head.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
        let each = match kind {
            VFIO_IRQ_SET_DATA_BOOL => 1,
            VFIO_IRQ_SET_DATA_EVENTFD => 4,
            _ => 0,
        };
        if !fds.is_empty() && (kind != VFIO_IRQ_SET_DATA_EVENTFD || fds.len() > head.count as usize) {
            return Err(Errno::EINVAL);
        }
        let argsz = SetIrqsBody::SIZE.saturating_add(head.count.saturating_mul(each));
        let header =
            IrqHeader { argsz, flags: head.flags, index: head.index, start: head.start, count: head.count };
        let data = match self.device.irq_payload(&header)? {
            IrqPayload::None => IrqData::None,
            IrqPayload::Bool(count) => {
                IrqData::Bool(data.get(..count as usize).ok_or(Errno::EINVAL)?.to_vec())
            }
            IrqPayload::EventFds(count) => {
                let mut entries: Vec<IrqFd> = fds.into_iter().map(event).collect();
                entries.resize(count as usize, IrqFd::Unset);
                IrqData::EventFds(entries)
            }
        };
        self.device.set_irqs(&IrqSet { header, data })?;
        Ok(Answer::empty())
    }
}

fn event(fd: OwnedFd) -> IrqFd {
    EventFd::from_fd(fd).map_or_else(IrqFd::Bad, IrqFd::Fd)
}
