//! Requests that describe the device.

use vfio_device::EventFd;
use vfio_device::ops::InfoCapability;
use vfio_uapi::Errno;
use vfio_uapi::vfio::device::VFIO_DEVICE_FLAGS_PCI;
use vfio_uapi::vfio::pci::{VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX};
use vfio_uapi::vfio::region::{VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP};

use super::areas::Mappable;
use super::connection::Connection;
use super::dispatch::Answer;
use crate::message::{DeviceInfoBody, IoEvent, IrqInfoBody, RegionFdsBody, RegionInfoBody};

/// Flags of the device that have a meaning on the wire: reset and PCI.
const DEVICE_FLAGS: u32 = 0b11;

impl Connection {
    /// `EINVAL` short.
    pub(super) fn device_info(&self, body: &[u8]) -> Result<Answer, Errno> {
        DeviceInfoBody::read(body)
            .filter(|asked| asked.argsz >= DeviceInfoBody::SIZE)
            .ok_or(Errno::EINVAL)?;
        let info = self.device.info();
        let mut reply = Vec::with_capacity(DeviceInfoBody::SIZE as usize);
        DeviceInfoBody {
            argsz: DeviceInfoBody::SIZE,
            flags: info.flags & DEVICE_FLAGS,
            num_regions: info.num_regions,
            num_irqs: info.num_irqs,
        }
        .write(&mut reply);
        Ok(Answer::body(reply))
    }

    /// Describes a region. Capabilities that do not fit `argsz` are left out, and the reply says what would have been
    /// needed. A region is only said to be mappable where there is a descriptor that the client can map.
    ///
    /// `EINVAL` short, no such region.
    pub(super) fn region_info(&self, body: &[u8]) -> Result<Answer, Errno> {
        let (asked, _) = RegionInfoBody::read(body)
            .filter(|(asked, _)| asked.argsz >= RegionInfoBody::SIZE)
            .ok_or(Errno::EINVAL)?;
        let info = self.device.region_info(asked.index)?;
        let mappable = Mappable::of(self.device.region_memory(asked.index), info.size);
        let mut capabilities = info.capabilities;
        let mut flags = info.flags & !(VFIO_REGION_INFO_FLAG_CAPS | VFIO_REGION_INFO_FLAG_MMAP);
        if mappable.is_some() {
            flags |= VFIO_REGION_INFO_FLAG_MMAP;
        }
        Mappable::announce(mappable.as_ref(), &mut capabilities);
        let chain = encode_chain(RegionInfoBody::SIZE, &capabilities);
        let needed = RegionInfoBody::SIZE + chain.len() as u32;
        let fits = asked.argsz >= needed && !chain.is_empty();
        // Announced without a place, capabilities are an error to QEMU, which asks again because of `argsz` alone.
        if fits {
            flags |= VFIO_REGION_INFO_FLAG_CAPS;
        }
        let (memory, offset) = mappable.map_or((None, 0), |found| (Some(found.memory), found.offset));
        let mut reply = Vec::with_capacity(needed as usize);
        RegionInfoBody {
            argsz: needed,
            flags,
            index: asked.index,
            cap_offset: if fits { RegionInfoBody::SIZE } else { 0 },
            size: info.size,
            offset,
        }
        .write(&mut reply);
        if fits {
            reply.extend_from_slice(&chain);
        }
        Ok(Answer { body: reply, memory, ..Answer::default() })
    }

    /// Lists the registers of a region that can be written by signalling an event, as many as the client takes descriptors
    /// for. `EINVAL` short, no such region.
    pub(super) fn region_io_fds(&self, body: &[u8]) -> Result<Answer, Errno> {
        let (asked, _) = RegionFdsBody::read(body)
            .filter(|(asked, _)| asked.argsz >= RegionFdsBody::SIZE && asked.flags == 0)
            .ok_or(Errno::EINVAL)?;
        self.device.region_info(asked.index)?;
        let doorbells = self.device.doorbells(asked.index);
        let port = !doorbells.is_empty() && self.is_port(asked.index);
        let mut events: Vec<EventFd> = Vec::new();
        let mut entries = Vec::new();
        let mut count = 0;
        for bell in doorbells.iter().filter(|bell| matches!(bell.event.as_fd(), Ok(Some(_)))) {
            let known = events.iter().position(|event| event.same_counter(&bell.event));
            let index = known.unwrap_or(events.len());
            if index >= self.client_fds() {
                continue;
            }
            if known.is_none() {
                events.push(bell.event.clone());
            }
            let (offset, size, fd_index) = (bell.offset, u64::from(bell.width), index as u32);
            IoEvent { offset, size, fd_index, datamatch: bell.value, port }.write(&mut entries);
            count += 1;
        }
        let needed = RegionFdsBody::SIZE + entries.len() as u32;
        let mut reply = Vec::with_capacity(needed as usize);
        let fits = asked.argsz >= needed;
        RegionFdsBody { argsz: needed, flags: 0, index: asked.index, count }.write(&mut reply);
        if fits {
            reply.extend_from_slice(&entries);
        } else {
            events.clear();
        }
        Ok(Answer { body: reply, events, ..Answer::default() })
    }

    /// Tells whether a region of a PCI device lies in I/O space, as its base address register says.
    fn is_port(&self, index: u32) -> bool {
        let mut register = [0; 4];
        index <= VFIO_PCI_BAR5_REGION_INDEX
            && self.device.info().flags & VFIO_DEVICE_FLAGS_PCI != 0
            && self
                .device
                .read(VFIO_PCI_CONFIG_REGION_INDEX, 0x10 + 4 * u64::from(index), &mut register)
                .is_ok()
            && register[0] & 1 != 0
    }

    /// `EINVAL` short, no such index.
    pub(super) fn irq_info(&self, body: &[u8]) -> Result<Answer, Errno> {
        let asked =
            IrqInfoBody::read(body).filter(|asked| asked.argsz >= IrqInfoBody::SIZE).ok_or(Errno::EINVAL)?;
        let info = self.device.irq_info(asked.index)?;
        let mut reply = Vec::with_capacity(IrqInfoBody::SIZE as usize);
        IrqInfoBody { argsz: IrqInfoBody::SIZE, flags: info.flags, index: asked.index, count: info.count }
            .write(&mut reply);
        Ok(Answer::body(reply))
    }
}

/// Encodes a chain that starts `at` bytes into the structure; each capability on a multiple of 8.
fn encode_chain(at: u32, capabilities: &[InfoCapability]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, capability) in capabilities.iter().enumerate() {
        let size = (8_usize + capability.payload.len()).next_multiple_of(8);
        let next = if i + 1 == capabilities.len() { 0 } else { at + (bytes.len() + size) as u32 };
        let end = bytes.len() + size;
        bytes.extend_from_slice(&capability.id.to_ne_bytes());
        bytes.extend_from_slice(&capability.version.to_ne_bytes());
        bytes.extend_from_slice(&next.to_ne_bytes());
        bytes.extend_from_slice(&capability.payload);
        bytes.resize(end, 0);
    }
    bytes
}
