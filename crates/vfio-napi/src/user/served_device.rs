//! A device as its server sees it: opened and closed in JavaScript, and called there or natively.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::RwLock;
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{
    Completion, DeviceInfo, FeatureAnswer, FeatureArgument, FeatureFlags, InfoCapability, IrqData, IrqHeader,
    IrqInfo, IrqPayload, IrqSet, RegionInfo, RegionMapping, RegionMemory, Served,
};
use vfio_device::pci::Doorbell;
use vfio_iommu::{DmaSpace, IovaRange};
use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_TYPE_MASK};

use super::layout::Layout;
use super::mailbox::{Answer, Mailbox, Request};

/// Interrupts that one request may name.
const MAX_IRQS: u32 = 2048;
/// How long JavaScript may take to open and to close a device, which no client waits for.
const LIFETIME_PATIENCE: Duration = Duration::from_secs(30);

/// A device that is served.
pub(super) struct ServedDevice {
    mailbox: Arc<Mailbox>,
    /// The device itself where it is native: only opening and closing it are JavaScript's.
    native: Option<Arc<dyn VfioDeviceOps>>,
    /// How long JavaScript may take over a request that a client waits for.
    patience: Duration,
    /// What needs no JavaScript, while the device is open.
    layout: RwLock<Arc<Layout>>,
}

impl ServedDevice {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        native: Option<Arc<dyn VfioDeviceOps>>,
        patience: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { mailbox, native, patience, layout: RwLock::default() })
    }

    /// What needs no JavaScript; no lock is held while it is used, for an event may lead anywhere.
    fn layout(&self) -> Arc<Layout> {
        self.layout.read().clone()
    }

    fn call(&self, request: Request) -> Result<Answer, Errno> {
        self.mailbox.call(request, self.patience)
    }

    fn numbers<const N: usize>(&self, request: Request) -> Result<([u64; N], Vec<u8>), Errno> {
        let Answer { numbers, data, .. } = self.call(request)?;
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
        let Answer { layout, .. } = self.mailbox.call(Request::Open(dma), LIFETIME_PATIENCE)?;
        *self.layout.write() = Arc::new(layout.unwrap_or_default());
        Ok(())
    }

    fn close_device(&self) {
        // Whoever asked has gone.
        self.mailbox.abandon();
        // A device whose JavaScript has ended is closed.
        let _ = self.mailbox.call(Request::Close, LIFETIME_PATIENCE);
        let layout = std::mem::take(&mut *self.layout.write());
        drop(layout);
    }

    fn set_served(&self, served: Option<Served>) {
        if let Some(device) = &self.native {
            device.set_served(served);
        }
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
        self.call(Request::SetIrqs(request.header, data)).map(drop)
    }

    fn reset(&self) -> Result<(), Errno> {
        match &self.native {
            Some(device) => device.reset(),
            None => self.call(Request::Reset).map(drop),
        }
    }

    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        if let Some(device) = &self.native {
            return device.read(region, offset, into);
        }
        if let Some(read) = self.layout().read(region, offset, into) {
            return read.map(|()| into.len());
        }
        let Answer { data, .. } = self.call(Request::Read { region, offset, len: into.len() })?;
        let len = data.len().min(into.len());
        into[..len].copy_from_slice(&data[..len]);
        Ok(len)
    }

    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        if let Some(device) = &self.native {
            return device.write(region, offset, from);
        }
        if let Some(written) = self.layout().write(region, offset, from) {
            return written.map(|()| from.len());
        }
        self.call(Request::Write { region, offset, data: from.to_vec() })?;
        Ok(from.len())
    }

    fn read_now(&self, region: u32, offset: u64, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        if let Some(device) = &self.native {
            return device.read_now(region, offset, into);
        }
        let read = self.layout().read(region, offset, into)?;
        Some(read.map(|()| into.len()))
    }

    fn write_now(&self, region: u32, offset: u64, from: &[u8]) -> Option<Result<usize, Errno>> {
        if let Some(device) = &self.native {
            return device.write_now(region, offset, from);
        }
        let written = self.layout().write(region, offset, from)?;
        Some(written.map(|()| from.len()))
    }

    fn submit_read(&self, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        if let Some(device) = &self.native {
            return device.submit_read(region, offset, len, done);
        }
        let mut bytes = vec![0; len];
        let read = self.layout().read(region, offset, &mut bytes);
        match read {
            Some(read) => done(read.map(|()| bytes)),
            None => self.mailbox.submit(
                Request::Read { region, offset, len },
                Box::new(move |answer| done(answer.map(|answer| answer.data))),
            ),
        }
    }

    fn submit_write(&self, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        if let Some(device) = &self.native {
            return device.submit_write(region, offset, from, done);
        }
        let len = from.len();
        let written = self.layout().write(region, offset, &from);
        match written {
            Some(written) => done(written.map(|()| len)),
            None => self.mailbox.submit(
                Request::Write { region, offset, data: from },
                Box::new(move |answer| done(answer.map(|_| len))),
            ),
        }
    }

    fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        match &self.native {
            Some(device) => device.mmap(region, offset, len),
            None => Err(Errno::EINVAL),
        }
    }

    fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        match &self.native {
            Some(device) => device.region_memory(region),
            None => self.layout().region_memory(region),
        }
    }

    fn doorbells(&self, region: u32) -> Vec<Doorbell> {
        match &self.native {
            Some(device) => device.doorbells(region),
            None => self.layout().doorbells(region),
        }
    }

    fn runs_on(&self) -> Option<ThreadId> {
        match &self.native {
            Some(device) => device.runs_on(),
            None => Some(self.mailbox.thread()),
        }
    }

    fn device_feature(
        &self,
        flags: FeatureFlags,
        argument: &dyn FeatureArgument,
    ) -> Result<FeatureAnswer, Errno> {
        if let Some(device) = &self.native {
            return device.device_feature(flags, argument);
        }
        let mut data = vec![0; argument.len()];
        argument.read(0, &mut data)?;
        let Answer { data, .. } = self.call(Request::Feature { flags: flags.0, data })?;
        argument.write(0, &data)?;
        Ok(FeatureAnswer::Done)
    }

    fn migration_read(&self, size: usize) -> Result<Vec<u8>, Errno> {
        match &self.native {
            Some(device) => device.migration_read(size),
            None => self.call(Request::MigrationRead(size)).map(|answer| answer.data),
        }
    }

    fn migration_write(&self, data: &[u8]) -> Result<(), Errno> {
        match &self.native {
            Some(device) => device.migration_write(data),
            None => self.call(Request::MigrationWrite(data.to_vec())).map(drop),
        }
    }

    fn dma_unmap(&self, range: IovaRange) {
        if let Some(device) = &self.native {
            return device.dma_unmap(range);
        }
        if self.layout().hears_unmaps {
            // A device that cannot be asked any more has let everything go.
            let _ = self.call(Request::DmaUnmap(range));
        }
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
