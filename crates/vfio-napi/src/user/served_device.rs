//! A device as its server sees it: opened and closed in JavaScript, and called there or natively.

use std::sync::Arc;
use std::thread::ThreadId;

use vfio_device::VfioDeviceOps;
use vfio_device::ops::{
    Completion, DeviceInfo, InfoCapability, IrqData, IrqHeader, IrqInfo, IrqPayload, IrqSet, RegionInfo,
    RegionMapping,
};
use vfio_iommu::{DmaSpace, IovaRange};
use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_TYPE_MASK};

use super::mailbox::{Answer, Mailbox, Request};

/// Interrupts that one request may name.
const MAX_IRQS: u32 = 2048;

/// A device that is served.
pub(super) struct ServedDevice {
    mailbox: Arc<Mailbox>,
    /// The device itself where it is native: only opening and closing it are JavaScript's.
    native: Option<Arc<dyn VfioDeviceOps>>,
}

impl ServedDevice {
    pub(super) fn new(mailbox: Arc<Mailbox>, native: Option<Arc<dyn VfioDeviceOps>>) -> Arc<Self> {
        Arc::new(Self { mailbox, native })
    }

    fn numbers<const N: usize>(&self, request: Request) -> Result<([u64; N], Vec<u8>), Errno> {
        let Answer { numbers, data } = self.mailbox.call(request)?;
        let numbers = numbers.try_into().map_err(|_| Errno::EIO)?;
        Ok((numbers, data))
    }
}

impl VfioDeviceOps for ServedDevice {
    fn name(&self) -> &str {
        self.native.as_ref().map_or("javascript", |device| device.name())
    }

    fn open_device(&self, dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        let dma = dma.ok_or(Errno::EINVAL)?;
        self.mailbox.call(Request::Open(dma)).map(drop)
    }

    fn close_device(&self) {
        // A device whose JavaScript has ended is closed.
        let _ = self.mailbox.call(Request::Close);
    }

    fn set_dma(&self, dma: Option<Arc<dyn DmaSpace>>) {
        if let Some(device) = &self.native {
            device.set_dma(dma);
        }
    }

    fn info(&self) -> DeviceInfo {
        if let Some(device) = &self.native {
            return device.info();
        }
        let asked = self.numbers::<3>(Request::Info);
        let Ok(([flags, num_regions, num_irqs], _)) = asked else { return DeviceInfo::default() };
        DeviceInfo {
            flags: flags as u32,
            num_regions: num_regions as u32,
            num_irqs: num_irqs as u32,
            capabilities: Vec::new(),
        }
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        if let Some(device) = &self.native {
            return device.region_info(index);
        }
        let ([flags, size, offset], data) = self.numbers::<3>(Request::RegionInfo(index))?;
        Ok(RegionInfo { flags: flags as u32, size, offset, capabilities: capabilities(&data)? })
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        if let Some(device) = &self.native {
            return device.irq_info(index);
        }
        let ([flags, count], _) = self.numbers::<2>(Request::IrqInfo(index))?;
        Ok(IrqInfo { flags: flags as u32, count: count as u32 })
    }

    /// Goes by the flags alone: the driver in JavaScript checks the header.
    fn irq_payload(&self, header: &IrqHeader) -> Result<IrqPayload, Errno> {
        if let Some(device) = &self.native {
            return device.irq_payload(header);
        }
        match header.flags & VFIO_IRQ_SET_DATA_TYPE_MASK {
            _ if header.count > MAX_IRQS => Err(Errno::EINVAL),
            VFIO_IRQ_SET_DATA_BOOL => Ok(IrqPayload::Bool(header.count)),
            VFIO_IRQ_SET_DATA_EVENTFD => Ok(IrqPayload::EventFds(header.count)),
            _ => Ok(IrqPayload::None),
        }
    }

    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        if let Some(device) = &self.native {
            return device.set_irqs(request);
        }
        let data = match &request.data {
            IrqData::None => IrqData::None,
            IrqData::Bool(bools) => IrqData::Bool(bools.clone()),
            IrqData::EventFds(entries) => IrqData::EventFds(entries.clone()),
        };
        self.mailbox.call(Request::SetIrqs(request.header, data)).map(drop)
    }

    fn reset(&self) -> Result<(), Errno> {
        match &self.native {
            Some(device) => device.reset(),
            None => self.mailbox.call(Request::Reset).map(drop),
        }
    }

    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        if let Some(device) = &self.native {
            return device.read(region, offset, into);
        }
        let Answer { data, .. } = self.mailbox.call(Request::Read { region, offset, len: into.len() })?;
        let len = data.len().min(into.len());
        into[..len].copy_from_slice(&data[..len]);
        Ok(len)
    }

    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        if let Some(device) = &self.native {
            return device.write(region, offset, from);
        }
        self.mailbox.call(Request::Write { region, offset, data: from.to_vec() })?;
        Ok(from.len())
    }

    fn submit_read(&self, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        match &self.native {
            Some(device) => device.submit_read(region, offset, len, done),
            None => self.mailbox.submit(
                Request::Read { region, offset, len },
                Box::new(move |answer| done(answer.map(|answer| answer.data))),
            ),
        }
    }

    fn submit_write(&self, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        match &self.native {
            Some(device) => device.submit_write(region, offset, from, done),
            None => {
                let len = from.len();
                self.mailbox.submit(
                    Request::Write { region, offset, data: from },
                    Box::new(move |answer| done(answer.map(|_| len))),
                );
            }
        }
    }

    fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        match &self.native {
            Some(device) => device.mmap(region, offset, len),
            None => Err(Errno::EINVAL),
        }
    }

    fn runs_on(&self) -> Option<ThreadId> {
        match &self.native {
            Some(device) => device.runs_on(),
            None => Some(self.mailbox.thread()),
        }
    }

    fn dma_unmap(&self, range: IovaRange) {
        // A device that cannot be asked any more has let everything go.
        let _ = self.mailbox.call(Request::DmaUnmap(range));
    }
}

/// Reads capabilities as JavaScript lists them: id, version, length, payload.
fn capabilities(mut data: &[u8]) -> Result<Vec<InfoCapability>, Errno> {
    let mut list = Vec::new();
    while !data.is_empty() {
        let (head, rest) = data.split_first_chunk::<8>().ok_or(Errno::EIO)?;
        let [id0, id1, version0, version1, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        let (payload, rest) = rest.split_at_checked(length).ok_or(Errno::EIO)?;
        list.push(InfoCapability {
            id: u16::from_le_bytes([id0, id1]),
            version: u16::from_le_bytes([version0, version1]),
            payload: payload.to_vec(),
        });
        data = rest;
    }
    Ok(list)
}
