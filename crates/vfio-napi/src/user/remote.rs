//! `NativeRemoteDevice`: a device in another process.
//!
//! Plain methods wait for the server on this thread; `submit…` ones give promises. A server whose device is emulated by
//! this very thread can only be reached by the latter.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::{BigInt, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{Completion, complete};
use vfio_memory::Prot;
use vfio_uapi::Errno;
use vfio_wire::client::ask::{self, Ask};
use vfio_wire::client::{ClientOptions, Loan, RemoteDevice, connect};

use super::description::Description;
use super::local;
use crate::errno::{Result, failure, throw};
use crate::event_fd::NativeEventFd;
use crate::handles;
use crate::js::Callback;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::promise::{Deferred, JsPromise, promise};
use crate::realm;
use crate::region_mapping::NativeRegionMapping;
use crate::vfio_pci::{Info, Irq, IrqRequest, Region};

/// A device behind a socket.
#[napi]
pub struct NativeRemoteDevice {
    open: RefCell<Option<RemoteDevice>>,
    description: Description,
    path: PathBuf,
}

impl RefUnwindSafe for NativeRemoteDevice {}

/// A register that is written by signalling an event.
#[napi(object, object_from_js = false)]
pub struct RemoteDoorbell {
    /// Where in the region.
    pub offset: BigInt,
    /// Bytes of the write; 0: any.
    pub width: u32,
    /// The value; none: any.
    pub value: Option<BigInt>,
}

/// Connects to the server at `path` and asks what its device has; `patience` is how long, in milliseconds, it may take over
/// a reply.
#[napi(catch_unwind)]
pub fn connect_device(env: Env, path: String, patience: u32) -> Result<JsPromise> {
    let options =
        ClientOptions { patience: Duration::from_millis(patience.into()), ..ClientOptions::default() };
    let (deferred, promise) = promise(env)?;
    let connecting = std::thread::Builder::new().name("vfio-user connect".into());
    let work = move || {
        let path = PathBuf::from(path);
        let made = connect(&path, &options).and_then(|device| {
            let description = Description::ask(&device)?;
            Ok((device, description, path))
        });
        deferred.settle(made.map(|(device, description, path)| {
            move || NativeRemoteDevice { open: RefCell::new(Some(device)), description, path }
        }));
    };
    connecting.spawn(work).map_err(|_| throw(Errno::EAGAIN))?;
    Ok(promise)
}

impl NativeRemoteDevice {
    fn get(&self) -> Result<RemoteDevice> {
        self.open.borrow().clone().ok_or_else(|| throw(Errno::EBADF))
    }

    /// The device for a call that waits here, which the thread that emulates it must not do.
    fn wait(&self) -> Result<RemoteDevice> {
        let device = self.get()?;
        if local::is_served_here(&self.path) { Err(throw(Errno::EDEADLK)) } else { Ok(device) }
    }

    fn call<T>(&self, ask: Ask<T>) -> Result<T> {
        self.wait()?.call(ask).map_err(throw)
    }
}

/// A completion that keeps a promise of nothing.
fn nothing<T: 'static>(deferred: Deferred) -> Completion<T> {
    complete(move |answer: std::result::Result<T, Errno>| deferred.settle(answer.map(|_| || ())))
}

/// A part of memory to lend.
#[napi(object, object_to_js = false)]
pub struct MemoryLoan {
    /// Address at which the device sees it.
    pub iova: BigInt,
    /// Handle of the memory.
    pub memory: u32,
    /// First byte within the memory.
    pub offset: BigInt,
    /// Bytes.
    pub length: BigInt,
    /// 1 the device may read, 2 it may write.
    pub access: u32,
    /// By messages even where the memory has a descriptor.
    pub by_message: bool,
}

impl MemoryLoan {
    fn loan(&self) -> Result<Loan> {
        let memory = handles::get(self.memory).map_err(throw)?.memory().map_err(throw)?.clone();
        let mut prot = Prot::empty();
        prot.set(Prot::READ, self.access & 1 != 0);
        prot.set(Prot::WRITE, self.access & 2 != 0);
        let (iova, offset) = (u64(&self.iova, "iova")?, u64(&self.offset, "offset")?);
        Ok(Loan {
            iova,
            memory,
            offset,
            len: u64(&self.length, "length")?,
            prot,
            by_message: self.by_message,
        })
    }
}

#[napi]
impl NativeRemoteDevice {
    /// Tells whether the connection stands, as far as is known.
    #[napi(getter, catch_unwind)]
    pub fn is_open(&self) -> Result<bool> {
        Ok(self.open.borrow().as_ref().is_some_and(RemoteDevice::is_open))
    }

    /// Runs `ended` at a turn of the event loop after the connection has ended, unless it was closed here.
    #[napi(catch_unwind)]
    pub fn watch_end(&self, env: Env, ended: Function<(), ()>) -> Result<()> {
        let device = self.get()?;
        let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
        let callback = Callback::new(realm.clone(), ended.raw())?;
        device.on_end(move |_| realm.post(move |_| callback.call(&[])));
        Ok(())
    }

    /// Returns why the connection has ended.
    #[napi(catch_unwind)]
    pub fn end_reason(&self) -> Result<Option<String>> {
        let device = self.open.borrow().clone();
        Ok(device.and_then(|device| device.end_reason()))
    }

    /// Describes the device.
    #[napi(catch_unwind)]
    pub fn get_info(&self) -> Result<Info> {
        self.get()?;
        Ok(self.description.info.clone().into())
    }

    /// Describes a region.
    #[napi(catch_unwind)]
    pub fn get_region_info(&self, index: u32) -> Result<Region> {
        self.get()?;
        if let Some(region) = self.description.region(index) {
            return region.map(|region| region.info.clone().into()).map_err(throw);
        }
        self.wait()?.region_info(index).map(Region::from).map_err(throw)
    }

    /// Describes an interrupt index.
    #[napi(catch_unwind)]
    pub fn get_irq_info(&self, index: u32) -> Result<Irq> {
        self.get()?;
        if let Some(irq) = self.description.irq(index) {
            return irq.map(Irq::from).map_err(throw);
        }
        self.call(ask::irq_info(index)).map(Irq::from)
    }

    /// Maps a part of a region that the server gave a descriptor for.
    #[napi(catch_unwind)]
    pub fn mmap(&self, region: u32, offset: BigInt, length: BigInt) -> Result<NativeRegionMapping> {
        self.get()?;
        let (offset, length) = (u64(&offset, "offset")?, u64(&length, "length")?);
        NativeRegionMapping::wrap(self.description.mmap(region, offset, length).map_err(throw)?)
    }

    /// Sets up, triggers, masks or unmasks interrupts.
    #[napi(catch_unwind)]
    pub fn set_irqs(&self, request: IrqRequest) -> Result<()> {
        self.wait()?.set_irqs(&request.into()).map_err(throw)
    }

    /// Sets up, triggers, masks or unmasks interrupts without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_irqs(&self, env: Env, request: IrqRequest) -> Result<JsPromise> {
        let device = self.get()?;
        let (deferred, promise) = promise(env)?;
        device.submit_irqs(&request.into(), nothing(deferred));
        Ok(promise)
    }

    /// Resets the device.
    #[napi(catch_unwind)]
    pub fn reset(&self) -> Result<()> {
        self.call(ask::reset())
    }

    /// Resets the device without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_reset(&self, env: Env) -> Result<JsPromise> {
        let device = self.get()?;
        let (deferred, promise) = promise(env)?;
        device.submit(ask::reset(), nothing(deferred));
        Ok(promise)
    }

    /// Reads from a region.
    #[napi(catch_unwind)]
    pub fn read(&self, region: u32, offset: BigInt, length: u32) -> Result<JsBytes> {
        let (device, offset) = (self.wait()?, u64(&offset, "offset")?);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length as usize).map_err(|_| throw(Errno::ENOMEM))?;
        bytes.resize(length as usize, 0);
        device.read(region, offset, &mut bytes).map_err(throw)?;
        Ok(JsBytes(bytes))
    }

    /// Writes to a region.
    #[napi(catch_unwind)]
    pub fn write(&self, region: u32, offset: BigInt, data: JsBytes) -> Result<()> {
        let (device, offset) = (self.wait()?, u64(&offset, "offset")?);
        device.write(region, offset, &data.0).map(drop).map_err(throw)
    }

    /// Reads from a region without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_read(&self, env: Env, region: u32, offset: BigInt, length: u32) -> Result<JsPromise> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let (deferred, promise) = promise(env)?;
        let done = move |read: std::result::Result<Vec<u8>, Errno>| {
            deferred.settle(read.map(|bytes| || JsBytes(bytes)));
        };
        device.submit_read(region, offset, length as usize, complete(done));
        Ok(promise)
    }

    /// Writes to a region without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_write(&self, env: Env, region: u32, offset: BigInt, data: JsBytes) -> Result<JsPromise> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let (deferred, promise) = promise(env)?;
        device.submit_write(region, offset, data.0, nothing(deferred));
        Ok(promise)
    }

    /// Lends memory to the device.
    #[napi(catch_unwind)]
    pub fn dma_map(&self, loan: MemoryLoan) -> Result<()> {
        self.wait()?.dma_map(&loan.loan()?).map_err(throw)
    }

    /// Lends memory to the device without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_dma_map(&self, env: Env, loan: MemoryLoan) -> Result<JsPromise> {
        let (device, loan) = (self.get()?, loan.loan()?);
        let (deferred, promise) = promise(env)?;
        device.submit_dma_map(&loan, nothing(deferred));
        Ok(promise)
    }

    /// Takes memory back.
    #[napi(catch_unwind)]
    pub fn dma_unmap(&self, iova: BigInt, length: BigInt) -> Result<()> {
        self.wait()?.dma_unmap(u64(&iova, "iova")?, u64(&length, "length")?).map_err(throw)
    }

    /// Takes memory back without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_dma_unmap(&self, env: Env, iova: BigInt, length: BigInt) -> Result<JsPromise> {
        let (device, iova, length) = (self.get()?, u64(&iova, "iova")?, u64(&length, "length")?);
        let (deferred, promise) = promise(env)?;
        device.submit_dma_unmap(iova, length, nothing(deferred));
        Ok(promise)
    }

    /// Returns which optional states of migration the device knows, if it migrates.
    #[napi(catch_unwind)]
    pub fn migration_flags(&self) -> Result<Option<BigInt>> {
        Ok(self.description.migration.map(BigInt::from))
    }

    /// Tells whether the server logs the pages that the device writes.
    #[napi(catch_unwind)]
    pub fn logs_dma(&self) -> Result<bool> {
        Ok(self.description.logging)
    }

    /// Describes the registers of a region that are written by signalling an event.
    #[napi(catch_unwind)]
    pub fn doorbells(&self, region: u32) -> Result<Vec<RemoteDoorbell>> {
        self.get()?;
        let told = self.description.doorbells(region).iter();
        Ok(told
            .map(|bell| RemoteDoorbell {
                offset: bell.offset.into(),
                width: bell.width.into(),
                value: bell.value.map(BigInt::from),
            })
            .collect())
    }

    /// Returns the event of a doorbell.
    #[napi(catch_unwind)]
    pub fn doorbell_event(&self, region: u32, at: u32) -> Result<NativeEventFd> {
        let bell = self.description.doorbells(region).get(at as usize);
        NativeEventFd::wrap(bell.ok_or_else(|| throw(Errno::EINVAL))?.event.clone())
    }

    /// Probes, reads or sets a device feature; `room` is how many bytes of data the answer may have.
    #[napi(catch_unwind)]
    pub fn feature(&self, flags: u32, data: JsBytes, room: u32) -> Result<JsBytes> {
        self.call(ask::feature(flags, &data.0, room)).map(JsBytes)
    }

    /// Reads migration data.
    #[napi(catch_unwind)]
    pub fn migration_read(&self, size: u32) -> Result<JsBytes> {
        self.wait()?.migration_read(size as usize).map(JsBytes).map_err(throw)
    }

    /// Writes migration data.
    #[napi(catch_unwind)]
    pub fn migration_write(&self, data: JsBytes) -> Result<()> {
        self.wait()?.migration_write(&data.0).map_err(throw)
    }

    /// Ends the connection.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let open = self.open.borrow_mut().take();
        if let Some(device) = open {
            device.close();
        }
        Ok(())
    }
}
