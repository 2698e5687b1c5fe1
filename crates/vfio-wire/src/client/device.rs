//! A device in another process, with the face of one in this.

use std::os::fd::BorrowedFd;

use vfio_device::VfioDeviceOps;
use vfio_device::ops::{
    DeviceInfo, InfoCapability, IrqData, IrqFd, IrqInfo, IrqSet, RegionInfo, RegionMapping,
};
use vfio_iommu::IovaRange;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;

use super::Shared;
use crate::message::{
    Command, DeviceInfoBody, DmaMap, DmaUnmap, Fields, IrqInfoBody, RegionAccess, RegionInfoBody, SetIrqsBody,
};

/// Longest capability chain that is asked for.
const MAX_CHAIN: u32 = 64 << 10;

/// A region of a remote device.
#[derive(Debug, Clone)]
pub struct RemoteRegion {
    /// What the server says of it.
    pub info: RegionInfo,
    /// Memory behind it, where the server gave a descriptor.
    pub memory: Option<Memory>,
}

/// A device behind a socket. Clones share the connection, which ends with the last of them.
#[derive(Clone)]
pub struct RemoteDevice {
    connection: Shared,
}

impl RemoteDevice {
    pub(super) fn new(connection: Shared) -> Self {
        Self { connection }
    }

    /// Ends the connection; calls that wait fail with `ENOTCONN`.
    pub fn close(&self) {
        self.connection.close();
    }

    /// Tells whether the connection has not ended, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Lends memory to the device at `iova`: by its descriptor where it has one and `by_message` is false, by messages
    /// otherwise.
    ///
    /// # Errors
    /// `EINVAL` empty, wrapping or misaligned; `EFAULT` outside the memory; what the server refuses with; `ENOTCONN`,
    /// `ETIMEDOUT`.
    pub fn dma_map(
        &self,
        iova: u64,
        memory: &Memory,
        offset: u64,
        len: u64,
        prot: Prot,
        by_message: bool,
    ) -> Result<(), Errno> {
        let range = IovaRange::sized(iova, len).ok_or(Errno::EINVAL)?;
        if offset.checked_add(len).is_none_or(|end| end > memory.len()) {
            return Err(Errno::EFAULT);
        }
        let fd = memory.fd().filter(|_| !by_message);
        self.connection.lent().map(range, memory, offset, prot)?;
        let mut flags = 0;
        flags |= u32::from(prot.contains(Prot::READ));
        flags |= u32::from(prot.contains(Prot::WRITE)) << 1;
        let file_offset = if fd.is_some() { offset } else { 0 };
        let mut body = Vec::new();
        DmaMap { argsz: DmaMap::SIZE, flags, offset: file_offset, iova, size: len }.write(&mut body);
        let fds: &[BorrowedFd<'_>] = fd.as_slice();
        let answer = self.connection.call(Command::DmaMap, &body, fds);
        if answer.is_err() {
            self.connection.lent().unmap(range)?;
        }
        answer.map(drop)
    }

    /// Takes memory back. The device does not reach it any more when this returns, even where the server failed.
    ///
    /// # Errors
    /// `EINVAL` empty or wrapping; what the server refuses with; `ENOTCONN`, `ETIMEDOUT`.
    pub fn dma_unmap(&self, iova: u64, len: u64) -> Result<(), Errno> {
        let range = IovaRange::sized(iova, len).ok_or(Errno::EINVAL)?;
        let mut body = Vec::new();
        DmaUnmap { argsz: DmaUnmap::SIZE, flags: 0, iova, size: len }.write(&mut body);
        let answer = self.connection.call(Command::DmaUnmap, &body, &[]);
        self.connection.lent().unmap(range)?;
        answer.map(drop)
    }

    /// Asks for the device's description.
    ///
    /// # Errors
    /// What the server refuses with; `EPROTO` it makes no sense; `ENOTCONN`, `ETIMEDOUT`.
    pub fn query_info(&self) -> Result<DeviceInfo, Errno> {
        let mut body = Vec::new();
        DeviceInfoBody { argsz: DeviceInfoBody::SIZE, flags: 0, num_regions: 0, num_irqs: 0 }
            .write(&mut body);
        let frame = self.connection.call(Command::DeviceGetInfo, &body, &[])?;
        let info = DeviceInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        Ok(DeviceInfo {
            flags: info.flags,
            num_regions: info.num_regions,
            num_irqs: info.num_irqs,
            capabilities: Vec::new(),
        })
    }

    /// Asks for a region, with its capabilities and the memory behind it.
    ///
    /// # Errors
    /// What the server refuses with; `EPROTO` it makes no sense; `ENOTCONN`, `ETIMEDOUT`.
    pub fn query_region(&self, index: u32) -> Result<RemoteRegion, Errno> {
        let mut argsz = RegionInfoBody::SIZE;
        loop {
            let mut body = Vec::new();
            let ask = RegionInfoBody { argsz, flags: 0, index, cap_offset: 0, size: 0, offset: 0 };
            ask.write(&mut body);
            let mut frame = self.connection.call(Command::DeviceGetRegionInfo, &body, &[])?;
            let (info, chain) = RegionInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
            if info.argsz > argsz && info.argsz <= MAX_CHAIN {
                argsz = info.argsz;
                continue;
            }
            let capabilities = decode_chain(info.cap_offset, chain)?;
            let fd = if frame.fds.is_empty() { None } else { Some(frame.fds.swap_remove(0)) };
            let memory = match fd {
                Some(fd) if info.size > 0 => Some(Memory::from_fd(fd, info.offset, info.size, true)?),
                _ => None,
            };
            let info = RegionInfo { flags: info.flags, size: info.size, offset: info.offset, capabilities };
            return Ok(RemoteRegion { info, memory });
        }
    }

    /// Asks for an interrupt index.
    ///
    /// # Errors
    /// What the server refuses with; `EPROTO` it makes no sense; `ENOTCONN`, `ETIMEDOUT`.
    pub fn query_irq(&self, index: u32) -> Result<IrqInfo, Errno> {
        let mut body = Vec::new();
        IrqInfoBody { argsz: IrqInfoBody::SIZE, flags: 0, index, count: 0 }.write(&mut body);
        let frame = self.connection.call(Command::DeviceGetIrqInfo, &body, &[])?;
        let info = IrqInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
        Ok(IrqInfo { flags: info.flags, count: info.count })
    }
}

fn decode_chain(mut at: u32, chain: &[u8]) -> Result<Vec<InfoCapability>, Errno> {
    let mut capabilities = Vec::new();
    while at != 0 {
        let start = at.checked_sub(RegionInfoBody::SIZE).ok_or(Errno::EPROTO)? as usize;
        let mut fields = Fields::new(chain.get(start..).ok_or(Errno::EPROTO)?);
        let header = (fields.u16(), fields.u16(), fields.u32());
        let (Some(id), Some(version), Some(next)) = header else { return Err(Errno::EPROTO) };
        // Offsets that go back would never end.
        let len = match next {
            0 => fields.rest().len(),
            next if next > at + 8 => (next - at - 8) as usize,
            _ => return Err(Errno::EPROTO),
        };
        let payload = fields.bytes(len).ok_or(Errno::EPROTO)?.to_vec();
        capabilities.push(InfoCapability { id, version, payload });
        at = next;
    }
    Ok(capabilities)
}

impl VfioDeviceOps for RemoteDevice {
    fn name(&self) -> &str {
        "vfio-user"
    }

    /// Asks the server; a server that is gone has no regions and no interrupts.
    fn info(&self) -> DeviceInfo {
        self.query_info().unwrap_or_default()
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.query_region(index).map(|region| region.info)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.query_irq(index)
    }

    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        let header = request.header;
        let mut body = Vec::new();
        let mut data: &[u8] = &[];
        let mut events = Vec::new();
        match &request.data {
            IrqData::None => {}
            IrqData::Bool(bools) => data = bools,
            IrqData::EventFds(entries) => {
                for entry in entries {
                    events.extend(entry.event()?.cloned());
                }
                let whole = entries.iter().take_while(|entry| matches!(entry, IrqFd::Fd(_))).count();
                // Descriptors count from the first interrupt on: one that is left out in the middle has no name here.
                if whole != events.len() {
                    return Err(Errno::EINVAL);
                }
            }
        }
        let argsz = SetIrqsBody::SIZE + data.len() as u32;
        let head = SetIrqsBody {
            argsz,
            flags: header.flags,
            index: header.index,
            start: header.start,
            count: header.count,
        };
        head.write(&mut body);
        body.extend_from_slice(data);
        let mut fds = Vec::with_capacity(events.len());
        for event in &events {
            fds.push(event.as_fd()?.ok_or(Errno::EOPNOTSUPP)?);
        }
        if fds.len() as u64 > self.connection.server.max_msg_fds {
            return Err(Errno::E2BIG);
        }
        self.connection.call(Command::DeviceSetIrqs, &body, &fds).map(drop)
    }

    fn reset(&self) -> Result<(), Errno> {
        self.connection.call(Command::DeviceReset, &[], &[]).map(drop)
    }

    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        for part in into.chunks_mut(self.connection.max_transfer()) {
            let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            let access = RegionAccess { offset: at, region, count: part.len() as u32 };
            let mut body = Vec::with_capacity(RegionAccess::SIZE);
            access.write(&mut body);
            let frame = self.connection.call(Command::RegionRead, &body, &[])?;
            match RegionAccess::read(&frame.body) {
                Some((answered, data)) if answered == access && data.len() == part.len() => {
                    part.copy_from_slice(data)
                }
                _ => return Err(Errno::EPROTO),
            }
            done += part.len();
        }
        Ok(done)
    }

    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        for part in from.chunks(self.connection.max_transfer()) {
            let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            let mut body = Vec::with_capacity(RegionAccess::SIZE + part.len());
            RegionAccess { offset: at, region, count: part.len() as u32 }.write(&mut body);
            body.extend_from_slice(part);
            self.connection.call(Command::RegionWrite, &body, &[])?;
            done += part.len();
        }
        Ok(done)
    }

    fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        let memory = self.query_region(region)?.memory.ok_or(Errno::EINVAL)?;
        if offset.checked_add(len).is_none_or(|end| end > memory.len()) {
            return Err(Errno::EINVAL);
        }
        Ok(RegionMapping::Memory { memory, offset, len })
    }
}

impl std::fmt::Debug for RemoteDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteDevice").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
