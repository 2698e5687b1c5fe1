//! Requests that describe the device.

use vfio_device::ops::{InfoCapability, RegionMapping};
use vfio_memory::Memory;
use vfio_uapi::Errno;
use vfio_uapi::vfio::region::{
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP,
};

use super::connection::Connection;
use super::dispatch::Answer;
use crate::message::{DeviceInfoBody, IrqInfoBody, RegionFdsBody, RegionInfoBody};

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
        let mappable = self.mappable(asked.index, info.size, info.flags);
        let mut capabilities = info.capabilities;
        let mut flags = info.flags & !VFIO_REGION_INFO_FLAG_CAPS;
        if mappable.is_none() {
            flags &= !VFIO_REGION_INFO_FLAG_MMAP;
            capabilities.retain(|capability| u32::from(capability.id) != VFIO_REGION_INFO_CAP_SPARSE_MMAP);
        }
        let chain = encode_chain(RegionInfoBody::SIZE, &capabilities);
        let needed = RegionInfoBody::SIZE + chain.len() as u32;
        let fits = asked.argsz >= needed && !chain.is_empty();
        // Announced without a place, capabilities are an error to QEMU, which asks again because of `argsz` alone.
        if fits {
            flags |= VFIO_REGION_INFO_FLAG_CAPS;
        }
        let (memory, offset) = mappable.map_or((None, 0), |(memory, offset)| (Some(memory), offset));
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
        Ok(Answer { body: reply, memory })
    }

    /// The memory behind a whole region and where the region starts in its descriptor.
    fn mappable(&self, index: u32, size: u64, flags: u32) -> Option<(Memory, u64)> {
        if flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            return None;
        }
        match self.device.mmap(index, 0, size).ok()? {
            RegionMapping::Memory { memory, offset, .. } if memory.fd().is_some() => Some((memory, offset)),
            _ => None,
        }
    }

    /// Says that no part of a region has a descriptor of its own. `EINVAL` short, no such region.
    pub(super) fn region_io_fds(&self, body: &[u8]) -> Result<Answer, Errno> {
        let (asked, _) = RegionFdsBody::read(body)
            .filter(|(asked, _)| asked.argsz >= RegionFdsBody::SIZE && asked.flags == 0)
            .ok_or(Errno::EINVAL)?;
        self.device.region_info(asked.index)?;
        let mut reply = Vec::with_capacity(RegionFdsBody::SIZE as usize);
        RegionFdsBody { argsz: RegionFdsBody::SIZE, flags: 0, index: asked.index, count: 0 }
            .write(&mut reply);
        Ok(Answer::body(reply))
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
