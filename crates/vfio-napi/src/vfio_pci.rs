//! `NativeVfioPci`: vfio-pci over a simulated function.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::thread;

use napi::Env;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_device::ops::{
    DeviceInfo, InfoCapability, IoEventFd, IrqData, IrqFd, IrqHeader, IrqInfo, IrqSet, RegionInfo, complete,
};
use vfio_device::pci::registers::{BAR_COUNT, BAR0, COMMAND, INTERRUPT_LINE, ROM_BAR};
use vfio_device::pci::{BarAddress, BarSpace, PciFunction};
use vfio_device::vfio_pci::VfioPciOptions;
use vfio_device::{VfioDeviceOps, VfioPci};
use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD};

use crate::errno::{Result, throw};
use crate::handles::{self, Handle};
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::object::Object;
use crate::promise::{Deferred, JsPromise, promise};
use crate::region_mapping::NativeRegionMapping;
use crate::vfio_pci_feature::{DmaBufInfo, FeatureFunctions};

/// The driver bound to a function.
#[napi]
pub struct NativeVfioPci {
    open: RefCell<Option<(Arc<VfioPci>, Handle)>>,
}

impl RefUnwindSafe for NativeVfioPci {}

/// A capability of an info structure.
#[napi(object, object_from_js = false)]
pub struct Capability {
    /// Which capability.
    pub id: u32,
    /// Version of its layout.
    pub version: u32,
    /// What stands behind its header.
    pub payload: JsBytes,
}

/// Answers `VFIO_DEVICE_GET_INFO`.
#[napi(object, object_from_js = false)]
pub struct Info {
    /// `VFIO_DEVICE_FLAGS_*`.
    pub flags: u32,
    /// Highest region index plus one.
    pub num_regions: u32,
    /// Highest interrupt index plus one.
    pub num_irqs: u32,
    /// In the order of their chain.
    pub capabilities: Vec<Capability>,
}

/// Answers `VFIO_DEVICE_GET_REGION_INFO`.
#[napi(object, object_from_js = false)]
pub struct Region {
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// Bytes.
    pub size: BigInt,
    /// Where it starts in the device file.
    pub offset: BigInt,
    /// In the order of their chain.
    pub capabilities: Vec<Capability>,
}

/// Answers `VFIO_DEVICE_GET_IRQ_INFO`.
#[napi(object, object_from_js = false)]
pub struct Irq {
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// Interrupts within the index.
    pub count: u32,
}

/// A `VFIO_DEVICE_SET_IRQS` request. An entry of `events` is the handle of an event counter (1 and above), 0 for
/// none, or a negative number: -1000000 + descriptor for a negative descriptor, else a negated errno.
#[napi(object, object_to_js = false)]
pub struct IrqRequest {
    /// Size of header and data.
    pub argsz: u32,
    /// Kind of data, and action.
    pub flags: u32,
    /// Interrupt index.
    pub index: u32,
    /// First interrupt.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// One byte per interrupt.
    pub bools: Option<JsBytes>,
    /// One entry per interrupt.
    pub events: Option<Vec<i32>>,
}

impl From<InfoCapability> for Capability {
    fn from(capability: InfoCapability) -> Self {
        Self {
            id: capability.id.into(),
            version: capability.version.into(),
            payload: JsBytes(capability.payload),
        }
    }
}

fn chain(capabilities: Vec<InfoCapability>) -> Vec<Capability> {
    capabilities.into_iter().map(Capability::from).collect()
}

impl From<DeviceInfo> for Info {
    fn from(info: DeviceInfo) -> Self {
        let DeviceInfo { flags, num_regions, num_irqs, capabilities } = info;
        Self { flags, num_regions, num_irqs, capabilities: chain(capabilities) }
    }
}

impl From<RegionInfo> for Region {
    fn from(info: RegionInfo) -> Self {
        let RegionInfo { flags, size, offset, capabilities } = info;
        Self { flags, size: size.into(), offset: offset.into(), capabilities: chain(capabilities) }
    }
}

impl From<IrqInfo> for Irq {
    fn from(info: IrqInfo) -> Self {
        Self { flags: info.flags, count: info.count }
    }
}

impl From<IrqRequest> for IrqSet {
    fn from(request: IrqRequest) -> Self {
        let IrqRequest { argsz, flags, index, start, count, bools, events } = request;
        let data = if flags & VFIO_IRQ_SET_DATA_BOOL != 0 {
            IrqData::Bool(bools.map_or_else(Vec::new, |bools| bools.0))
        } else if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            IrqData::EventFds(events.unwrap_or_default().into_iter().map(event).collect())
        } else {
            IrqData::None
        };
        Self { header: IrqHeader { argsz, flags, index, start, count }, data }
    }
}

/// Finds the event counter that an entry stands for.
pub(crate) fn event(entry: i32) -> IrqFd {
    const NEGATIVE: i32 = -1_000_000;
    match entry {
        0 => IrqFd::Unset,
        1.. => match handles::get(entry.cast_unsigned()).and_then(|object| object.event_fd().cloned()) {
            Ok(event) => IrqFd::Fd(event),
            Err(errno) => IrqFd::Bad(errno),
        },
        ..=NEGATIVE => IrqFd::Negative(entry - NEGATIVE),
        errno => IrqFd::Bad(Errno::from_code(-errno).unwrap_or(Errno::EIO)),
    }
}

/// Notes where the BARs are, as firmware left their registers.
fn note_addresses(function: &PciFunction) -> std::result::Result<(), Errno> {
    const FLAGS: u32 = 0xf;
    let register = |index: usize| function.config_u32(BAR0 + 4 * index as u16);
    let mut addresses = Vec::new();
    for index in 0..BAR_COUNT {
        let Some(bar) = function.bar(index) else { continue };
        let low = u64::from(register(index) & !FLAGS);
        let high = if bar.space == BarSpace::Memory64 { u64::from(register(index + 1)) << 32 } else { 0 };
        // Sizes below 16 exist in I/O space, where two bits are flags.
        let low = if bar.space == BarSpace::Io { u64::from(register(index) & !3) } else { low };
        addresses.push(BarAddress { bar: index as u8, address: high | low });
    }
    if function.rom().is_some() {
        let address = u64::from(function.config_u32(ROM_BAR) & !0x7ff);
        addresses.push(BarAddress { bar: BAR_COUNT as u8, address });
    }
    addresses.retain(|assigned| assigned.address != 0);
    let command = function.config_u16(COMMAND);
    function.assign(&addresses, function.config_u8(INTERRUPT_LINE))?;
    function.config_write(COMMAND, &command.to_le_bytes());
    Ok(())
}

impl NativeVfioPci {
    fn get(&self) -> Result<Arc<VfioPci>> {
        self.open.borrow().as_ref().map(|(device, _)| device.clone()).ok_or_else(|| throw(Errno::EBADF))
    }

    /// Makes a promise of what `device` will answer. A model of this very thread keeps the event loop by what it waits for, or
    /// not at all.
    fn promise(&self, env: Env, device: &VfioPci) -> Result<(Deferred, JsPromise)> {
        let (deferred, promise) = promise(env)?;
        let here = device.runs_on() == Some(thread::current().id());
        Ok((if here { deferred.without_loop() } else { deferred }, promise))
    }
}

#[napi]
impl NativeVfioPci {
    /// Binds the driver to the function with that handle.
    #[napi(constructor, catch_unwind)]
    pub fn new(function: u32, vga: bool, atomic_completer: u32) -> Result<Self> {
        let object = handles::get(function).map_err(throw)?;
        let function = object.pci().map_err(throw)?.function.clone();
        let device = Arc::new(VfioPci::new(function, VfioPciOptions { vga, atomic_completer }));
        let handle = Handle::new(Object::VfioPci(device.clone())).map_err(throw)?;
        Ok(Self { open: RefCell::new(Some((device, handle))) })
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |(_, handle)| handle.number()))
    }

    /// Opens the device; `dma` is the handle of its view of memory.
    #[napi(catch_unwind)]
    pub fn open_device(&self, dma: Option<u32>) -> Result<()> {
        let device = self.get()?;
        let function = device.function();
        let view = match dma {
            Some(handle) => {
                let object = handles::get(handle).map_err(throw)?;
                Some(object.dma_view().map_err(throw)?.clone())
            }
            None => None,
        };
        if !device.is_open() {
            note_addresses(function).map_err(throw)?;
        }
        function.dma().report_to(view.as_ref().and_then(|view| view.faults.clone()));
        device.open_device(view.map(|view| view.space)).map_err(throw)
    }

    /// Closes the device.
    #[napi(catch_unwind)]
    pub fn close_device(&self) -> Result<()> {
        self.get()?.close_device();
        Ok(())
    }

    /// Describes the device.
    #[napi(catch_unwind)]
    pub fn get_info(&self) -> Result<Info> {
        Ok(self.get()?.info().into())
    }

    /// Describes a region.
    #[napi(catch_unwind)]
    pub fn get_region_info(&self, index: u32) -> Result<Region> {
        self.get()?.region_info(index).map(Region::from).map_err(throw)
    }

    /// Describes an interrupt index.
    #[napi(catch_unwind)]
    pub fn get_irq_info(&self, index: u32) -> Result<Irq> {
        self.get()?.irq_info(index).map(Irq::from).map_err(throw)
    }

    /// Sets up, triggers, masks or unmasks interrupts.
    #[napi(catch_unwind)]
    pub fn set_irqs(&self, request: IrqRequest) -> Result<()> {
        self.get()?.set_irqs(&request.into()).map_err(throw)
    }

    /// Resets the device.
    #[napi(catch_unwind)]
    pub fn reset(&self) -> Result<()> {
        self.get()?.reset().map_err(throw)
    }

    /// Reads from a region, now or when the model has answered.
    #[napi(catch_unwind)]
    pub fn submit_read(&self, env: Env, region: u32, offset: BigInt, length: u32) -> Result<JsPromise> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let (deferred, promise) = self.promise(env, &device)?;
        let done = move |read: std::result::Result<Vec<u8>, Errno>| {
            deferred.settle(read.map(|bytes| || JsBytes(bytes)));
        };
        device.submit_read(region, offset, length as usize, complete(done));
        Ok(promise)
    }

    /// Writes to a region, now or when the model is done with it; the promise is kept with the count of bytes.
    #[napi(catch_unwind)]
    pub fn submit_write(&self, env: Env, region: u32, offset: BigInt, data: JsBytes) -> Result<JsPromise> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let (deferred, promise) = self.promise(env, &device)?;
        let done = move |written: std::result::Result<usize, Errno>| {
            deferred.settle(written.map(|count| move || count as f64));
        };
        device.submit_write(region, offset, data.0, complete(done));
        Ok(promise)
    }

    /// Maps a part of a region.
    #[napi(catch_unwind)]
    pub fn mmap(&self, region: u32, offset: BigInt, length: BigInt) -> Result<NativeRegionMapping> {
        let (offset, length) = (u64(&offset, "offset")?, u64(&length, "length")?);
        NativeRegionMapping::wrap(self.get()?.mmap(region, offset, length).map_err(throw)?)
    }

    /// Probes, reads or sets a feature.
    #[napi(catch_unwind)]
    pub fn device_feature(
        &self,
        flags: u32,
        length: u32,
        functions: FeatureFunctions,
    ) -> Result<Option<DmaBufInfo>> {
        functions.run(&*self.get()?, flags, length).map_err(throw)
    }

    /// Registers an event that writes to a region; `event` as in an interrupt request.
    #[napi(catch_unwind)]
    pub fn ioeventfd(&self, flags: u32, offset: BigInt, data: BigInt, entry: i32) -> Result<()> {
        let (offset, data) = (u64(&offset, "offset")?, u64(&data, "data")?);
        self.get()?.ioeventfd(&IoEventFd { flags, offset, data, fd: event(entry) }).map_err(throw)
    }

    /// Asks the user to let the device go.
    #[napi(catch_unwind)]
    pub fn request(&self, count: u32) -> Result<()> {
        self.get()?.request(count);
        Ok(())
    }

    /// Reports an uncorrected error of the function to its user.
    #[napi(catch_unwind)]
    pub fn report_error(&self) -> Result<()> {
        self.get()?.report_error();
        Ok(())
    }

    /// Unbinds the driver.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let open = self.open.borrow_mut().take();
        if let Some((device, _)) = &open {
            device.close_device();
        }
        drop(open);
        Ok(())
    }
}
