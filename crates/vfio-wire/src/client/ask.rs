//! Requests as values: what to send, what goes beside it, and how to read the reply.
//!
//! The same value is sent by whoever waits for the answer and by whoever does not.

use std::os::fd::BorrowedFd;

use vfio_device::EventFd;
use vfio_device::ops::{DeviceInfo, IrqHeader, IrqInfo};
use vfio_device::pci::Doorbell;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;

use super::device::Loan;
use crate::message::{
    Command, DeviceInfoBody, DmaMap, DmaUnmap, FeatureBody, Fields, IoEvent, IrqInfoBody, MigrationData,
    RegionAccess, RegionFdsBody, SetIrqsBody,
};
use crate::socket::Frame;

/// Longest list of doorbells that is asked for.
const MAX_REPLY: u32 = 64 << 10;

/// Reads a reply.
type Read<T> = Box<dyn FnOnce(Frame) -> Result<T, Errno> + Send>;

/// What goes beside a request.
pub(super) enum Beside {
    Nothing,
    Memory(Memory),
    Events(Vec<EventFd>),
}

/// A request whose answer is a `T`. See the functions of this module; hand it to
/// [`call`](super::RemoteDevice::call) or [`submit`](super::RemoteDevice::submit).
pub struct Ask<T> {
    pub(super) command: Command,
    pub(super) body: Vec<u8>,
    pub(super) beside: Beside,
    pub(super) read: Read<T>,
}

impl<T> Ask<T> {
    fn new(
        command: Command,
        body: Vec<u8>,
        read: impl FnOnce(Frame) -> Result<T, Errno> + Send + 'static,
    ) -> Self {
        Self { command, body, beside: Beside::Nothing, read: Box::new(read) }
    }
}

impl Beside {
    /// Returns the descriptors. `EOPNOTSUPP` an event without one.
    pub(super) fn fds(&self) -> Result<Vec<BorrowedFd<'_>>, Errno> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Memory(memory) => Ok(memory.fd().into_iter().collect()),
            Self::Events(events) => {
                events.iter().map(|event| event.as_fd()?.ok_or(Errno::EOPNOTSUPP)).collect()
            }
        }
    }
}

/// Asks for the device's description. `EPROTO` it makes no sense.
#[must_use]
pub fn info() -> Ask<DeviceInfo> {
    let mut body = Vec::new();
    DeviceInfoBody { argsz: DeviceInfoBody::SIZE, flags: 0, num_regions: 0, num_irqs: 0 }.write(&mut body);
    Ask::new(Command::DeviceGetInfo, body, |frame| {
        let info = DeviceInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        Ok(DeviceInfo {
            flags: info.flags,
            num_regions: info.num_regions,
            num_irqs: info.num_irqs,
            capabilities: Vec::new(),
        })
    })
}

/// Asks for an interrupt index. `EPROTO` the answer makes no sense.
#[must_use]
pub fn irq_info(index: u32) -> Ask<IrqInfo> {
    let mut body = Vec::new();
    IrqInfoBody { argsz: IrqInfoBody::SIZE, flags: 0, index, count: 0 }.write(&mut body);
    Ask::new(Command::DeviceGetIrqInfo, body, |frame| {
        let info = IrqInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        Ok(IrqInfo { flags: info.flags, count: info.count })
    })
}

/// Sets interrupts up, triggers, masks or unmasks them; `events` go with `count` entries from the first on.
pub(super) fn set_irqs(header: IrqHeader, data: &[u8], events: Vec<EventFd>) -> Ask<()> {
    let mut body = Vec::new();
    SetIrqsBody {
        argsz: SetIrqsBody::SIZE + data.len() as u32,
        flags: header.flags,
        index: header.index,
        start: header.start,
        count: header.count,
    }
    .write(&mut body);
    body.extend_from_slice(data);
    Ask { beside: Beside::Events(events), ..Ask::new(Command::DeviceSetIrqs, body, |_| Ok(())) }
}

/// Resets the device.
#[must_use]
pub fn reset() -> Ask<()> {
    Ask::new(Command::DeviceReset, Vec::new(), |_| Ok(()))
}

/// Reads from a region, at most as much as a message may carry.
pub(super) fn read(region: u32, offset: u64, len: usize) -> Ask<Vec<u8>> {
    let access = RegionAccess { offset, region, count: len as u32 };
    let mut body = Vec::with_capacity(RegionAccess::SIZE);
    access.write(&mut body);
    Ask::new(Command::RegionRead, body, move |mut frame| match RegionAccess::read(&frame.body) {
        Some((answered, data)) if answered == access && data.len() == len => {
            frame.body.drain(..RegionAccess::SIZE);
            Ok(frame.body)
        }
        _ => Err(Errno::EPROTO),
    })
}

/// Writes to a region, at most as much as a message may carry.
pub(super) fn write(region: u32, offset: u64, from: &[u8]) -> Ask<()> {
    let mut body = Vec::with_capacity(RegionAccess::SIZE + from.len());
    RegionAccess { offset, region, count: from.len() as u32 }.write(&mut body);
    body.extend_from_slice(from);
    Ask::new(Command::RegionWrite, body, |_| Ok(()))
}

/// Tells the server of memory: by its descriptor where it has one and `by_message` is false.
pub(super) fn dma_map(loan: &Loan) -> Ask<()> {
    let Loan { iova, memory, offset, len: size, prot, by_message } = loan;
    let mut flags = 0;
    flags |= u32::from(prot.contains(Prot::READ));
    flags |= u32::from(prot.contains(Prot::WRITE)) << 1;
    let by_message = *by_message || memory.fd().is_none();
    let offset = if by_message { 0 } else { memory.fd_offset().saturating_add(*offset) };
    let mut body = Vec::new();
    DmaMap { argsz: DmaMap::SIZE, flags, offset, iova: *iova, size: *size }.write(&mut body);
    let beside = if by_message { Beside::Nothing } else { Beside::Memory(memory.clone()) };
    Ask { beside, ..Ask::new(Command::DmaMap, body, |_| Ok(())) }
}

/// Takes memory away from the server.
pub(super) fn dma_unmap(iova: u64, size: u64) -> Ask<()> {
    let mut body = Vec::new();
    DmaUnmap { argsz: DmaUnmap::SIZE, flags: 0, iova, size }.write(&mut body);
    Ask::new(Command::DmaUnmap, body, |_| Ok(()))
}

/// Asks which registers of a region can be written by signalling an event. `EPROTO` the answer makes no sense.
#[must_use]
pub fn doorbells(index: u32) -> Ask<Vec<Doorbell>> {
    let mut body = Vec::new();
    RegionFdsBody { argsz: MAX_REPLY, flags: 0, index, count: 0 }.write(&mut body);
    Ask::new(Command::DeviceGetRegionIoFds, body, |frame| {
        let (head, entries) = RegionFdsBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        let mut events = Vec::with_capacity(frame.fds.len());
        for fd in frame.fds {
            events.push(EventFd::from_fd(fd).map_err(|_| Errno::EPROTO)?);
        }
        let mut fields = Fields::new(entries);
        let mut doorbells = Vec::new();
        // As many as there are bytes for: the number alone is not to be trusted.
        for _ in 0..head.count {
            let entry = IoEvent::take(&mut fields).ok_or(Errno::EPROTO)?;
            let Some(IoEvent { offset, size, fd_index, datamatch, .. }) = entry else { continue };
            let event = events.get(fd_index as usize).ok_or(Errno::EPROTO)?.clone();
            let width = u8::try_from(size).map_err(|_| Errno::EPROTO)?;
            doorbells.push(Doorbell { offset, width, value: datamatch, event });
        }
        Ok(doorbells)
    })
}

/// Probes, reads or sets a device feature: `flags` as in `VFIO_DEVICE_FEATURE`, `data` what follows the header, `room`
/// how long the data of the answer may be. The answer is the data of the reply. `EPROTO` it makes no sense; `EMSGSIZE`
/// there is not enough room.
#[must_use]
pub fn feature(flags: u32, data: &[u8], room: u32) -> Ask<Vec<u8>> {
    let argsz = FeatureBody::SIZE.saturating_add(room);
    let mut body = Vec::with_capacity(FeatureBody::SIZE as usize + data.len());
    FeatureBody { argsz, flags }.write(&mut body);
    body.extend_from_slice(data);
    Ask::new(Command::DeviceFeature, body, move |frame| {
        let (answered, data) = FeatureBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        if answered.argsz > argsz { Err(Errno::EMSGSIZE) } else { Ok(data.to_vec()) }
    })
}

/// Reads up to `size` bytes of migration data; fewer are the last. `EPROTO` the answer makes no sense.
#[must_use]
pub fn migration_read(size: u32) -> Ask<Vec<u8>> {
    let mut body = Vec::new();
    MigrationData { argsz: MigrationData::SIZE.saturating_add(size), size }.write(&mut body);
    Ask::new(Command::MigDataRead, body, move |frame| {
        let mut fields = Fields::new(&frame.body);
        let head = MigrationData::take(&mut fields).filter(|head| head.size <= size).ok_or(Errno::EPROTO)?;
        if fields.rest().len() != head.size as usize {
            Err(Errno::EPROTO)
        } else {
            Ok(fields.rest().to_vec())
        }
    })
}

/// Writes migration data, at most as much as a message may carry.
#[must_use]
pub fn migration_write(data: &[u8]) -> Ask<()> {
    let size = data.len() as u32;
    let mut body = Vec::new();
    MigrationData { argsz: MigrationData::SIZE.saturating_add(size), size }.write(&mut body);
    body.extend_from_slice(data);
    Ask::new(Command::MigDataWrite, body, |_| Ok(()))
}

impl<T> std::fmt::Debug for Ask<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("command", &self.command).finish_non_exhaustive()
    }
}
