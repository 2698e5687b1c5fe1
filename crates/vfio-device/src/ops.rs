//! What the core asks of a device: the interface, and the types of its requests and answers.
//!
//! Whoever emulates a device implements [`VfioDeviceOps`]; [`VfioPci`](crate::VfioPci) does so over a simulated PCI
//! function. Structures of the uapi are encoded elsewhere: here a capability is an id, a version and a payload, an
//! eventfd is an [`EventFd`](crate::EventFd), and user memory behind a request is a [`FeatureArgument`].

mod completion;
mod feature;
mod info;
mod irq_set;
mod mapping;

use std::sync::Arc;
use std::thread::ThreadId;

use vfio_iommu::{DmaSpace, IovaRange};
use vfio_uapi::Errno;
use vfio_uapi::vfio::region::VFIO_REGION_INFO_FLAG_MMAP;

use crate::pci::Doorbell;

pub use completion::{Completion, complete};
pub use feature::{FeatureAnswer, FeatureArgument, FeatureFlags, FeatureStep};
pub use info::{DeviceInfo, InfoCapability, IrqInfo, RegionInfo};
pub use irq_set::{IrqData, IrqFd, IrqHeader, IrqPayload, IrqSet};
pub use mapping::{MappedRegion, RegionMapping, RegionMemory};

/// Registers an eventfd that writes to a region when it is signalled (`VFIO_DEVICE_IOEVENTFD`).
#[derive(Debug, Clone)]
pub struct IoEventFd {
    /// `VFIO_DEVICE_IOEVENTFD_*`: one bit, the width of the write in bytes.
    pub flags: u32,
    /// Where in the device file the write goes.
    pub offset: u64,
    /// What is written.
    pub data: u64,
    /// The eventfd; -1 takes the registration away.
    pub fd: IrqFd,
}

/// How a device is served to other processes. It is on a bus of its own there, so it can be reset whatever its neighbours
/// in this process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Opening and closing leave its state alone, where they would reset it.
    pub retain_state: bool,
}

/// What the core asks of a device; a default body means that the driver left the callback NULL.
///
/// No method is called with a lock of the core held, and a device may call back into the core from any of them.
pub trait VfioDeviceOps: Send + Sync {
    /// Names the driver, such as `vfio-pci`.
    fn name(&self) -> &str;

    /// Opens the device for its first user, who reaches memory through `dma` (none: no IOMMU stands behind it yet).
    ///
    /// # Errors
    /// Whatever the driver refuses the open with.
    fn open_device(&self, _dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        Ok(())
    }

    /// Closes the device after its last user.
    fn close_device(&self) {}

    /// Says that the device is served to other processes from now on, or no longer.
    fn set_served(&self, _served: Option<Served>) {}

    /// Changes the space that the device's DMA goes through; none ends its DMA. When this returns no DMA through the
    /// old space is under way.
    fn set_dma(&self, _dma: Option<Arc<dyn DmaSpace>>) {}

    /// Describes the device (`VFIO_DEVICE_GET_INFO`).
    fn info(&self) -> DeviceInfo;

    /// Describes a region (`VFIO_DEVICE_GET_REGION_INFO`).
    ///
    /// # Errors
    /// `EINVAL` there is no such region.
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno>;

    /// Describes an interrupt index (`VFIO_DEVICE_GET_IRQ_INFO`).
    ///
    /// # Errors
    /// `EINVAL` there is no such index.
    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno>;

    /// Checks the header of a `VFIO_DEVICE_SET_IRQS` request and tells which payload to fetch before
    /// [`set_irqs`](Self::set_irqs) is called.
    ///
    /// # Errors
    /// As [`IrqHeader::prepare`]; the default asks [`info`](Self::info) and [`irq_info`](Self::irq_info).
    fn irq_payload(&self, header: &IrqHeader) -> Result<IrqPayload, Errno> {
        let indices = self.info().num_irqs;
        let count =
            if header.index < indices { self.irq_info(header.index).map_or(0, |info| info.count) } else { 0 };
        header.prepare(count, indices)
    }

    /// Sets up, triggers, masks or unmasks interrupts (`VFIO_DEVICE_SET_IRQS`).
    ///
    /// # Errors
    /// `EINVAL` the header or the state forbids it; `ENOTTY` the action is not supported; what the lookup of an
    /// eventfd fails with.
    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno>;

    /// Resets the device (`VFIO_DEVICE_RESET`).
    ///
    /// # Errors
    /// `ENOTTY` by default.
    fn reset(&self) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }

    /// Reads from a region; returns the bytes read, which are fewer at its end.
    ///
    /// # Errors
    /// `EINVAL` no such region, outside of it, or not readable; what else the region refuses with.
    fn read(&self, _region: u32, _offset: u64, _into: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes to a region; returns the bytes written, which are fewer at its end.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn write(&self, _region: u32, _offset: u64, _from: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Reads at once, if that is how the device answers; none: it may answer later, so the access is to be
    /// [submitted](Self::submit_read). For who passes on many small accesses: nothing has to be kept for an answer.
    fn read_now(&self, _region: u32, _offset: u64, _into: &mut [u8]) -> Option<Result<usize, Errno>> {
        None
    }

    /// Writes at once, if that is how the device answers; none: the access is to be [submitted](Self::submit_write).
    fn write_now(&self, _region: u32, _offset: u64, _from: &[u8]) -> Option<Result<usize, Errno>> {
        None
    }

    /// Reads up to `len` bytes from a region and hands them to `done`, now or later and on any thread.
    fn submit_read(&self, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let mut bytes = vec![0; len];
        let read = self.read(region, offset, &mut bytes);
        done(read.map(|count| {
            bytes.truncate(count);
            bytes
        }));
    }

    /// Writes to a region and tells `done` how many bytes were taken, now or later and on any thread.
    fn submit_write(&self, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        done(self.write(region, offset, &from));
    }

    /// Maps a part of a region (`mmap` of the device file, shared).
    ///
    /// # Errors
    /// `EINVAL` no such region, not mappable, or outside of it.
    fn mmap(&self, _region: u32, _offset: u64, _len: u64) -> Result<RegionMapping, Errno> {
        Err(Errno::EINVAL)
    }

    /// Lists the parts of a region that are plain memory, for users that map them or reach them without the device. The default
    /// is all of a region that can be mapped as memory.
    fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        let info = self.region_info(region).unwrap_or_default();
        if info.flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            return Vec::new();
        }
        match self.mmap(region, 0, info.size) {
            Ok(RegionMapping::Memory { memory, offset, len }) => {
                vec![RegionMemory { offset: 0, len, memory, memory_offset: offset }]
            }
            _ => Vec::new(),
        }
    }

    /// Lists the registers of a region that are written by signalling an event as well.
    fn doorbells(&self, _region: u32) -> Vec<Doorbell> {
        Vec::new()
    }

    /// Tells which thread must be free for the device to answer, where it depends on one.
    fn runs_on(&self) -> Option<ThreadId> {
        None
    }

    /// Probes, reads or sets a feature (`VFIO_DEVICE_FEATURE`) that the core leaves to drivers.
    ///
    /// # Errors
    /// `ENOTTY` no such feature; `EINVAL` the operation or the size; `EFAULT` the argument.
    fn device_feature(
        &self,
        _flags: FeatureFlags,
        _argument: &dyn FeatureArgument,
    ) -> Result<FeatureAnswer, Errno> {
        Err(Errno::ENOTTY)
    }

    /// Reads up to `size` bytes of the device's state, which is being saved; fewer are the last.
    ///
    /// # Errors
    /// `ENOTTY` by default; `EBADF` the state is not being saved.
    fn migration_read(&self, _size: usize) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENOTTY)
    }

    /// Writes a part of the device's state, which is being restored.
    ///
    /// # Errors
    /// `ENOTTY` by default; `EBADF` the state is not being restored; what the driver refuses the data with.
    fn migration_write(&self, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }

    /// Registers an eventfd that writes to a region, or takes it away (`VFIO_DEVICE_IOEVENTFD`).
    ///
    /// # Errors
    /// `ENOTTY` by default.
    fn ioeventfd(&self, _request: &IoEventFd) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }

    /// Asks the user, for the `count`th time, to let the device go.
    fn request(&self, _count: u32) {}

    /// Tells that pages in this range are being unmapped: a driver that pinned any unpins them now.
    fn dma_unmap(&self, _range: IovaRange) {}
}
