//! `NativeRemoteDevice`: a device in another process.
//!
//! Plain methods wait for the server on this thread; `submit…` ones wait elsewhere and give promises. A server on this
//! very thread can only be reached by the latter.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::path::Path;
use std::time::Duration;

use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi::{Env, Task};
use napi_derive::napi;
use vfio_device::VfioDeviceOps;
use vfio_device::ops::IrqSet;
use vfio_memory::Prot;
use vfio_uapi::Errno;
use vfio_wire::client::{ClientOptions, RemoteDevice, connect};

use crate::errno::{Result, throw};
use crate::handles;
use crate::js_bytes::JsBytes;
use crate::memory::{MemoryKind, NativeMemory};
use crate::numbers::u64;
use crate::vfio_pci::{Info, Irq, IrqRequest, Region};

/// A device behind a socket.
#[napi]
pub struct NativeRemoteDevice {
    open: RefCell<Option<RemoteDevice>>,
}

impl RefUnwindSafe for NativeRemoteDevice {}

impl NativeRemoteDevice {
    fn get(&self) -> Result<RemoteDevice> {
        self.open.borrow().clone().ok_or_else(|| throw(Errno::EBADF))
    }
}

/// Work that is done off the JavaScript thread; a panic in it becomes a failure.
pub struct Work<T>(Option<Box<dyn FnOnce() -> std::result::Result<T, Errno> + Send>>);

impl<T> Work<T> {
    fn new(work: impl FnOnce() -> std::result::Result<T, Errno> + Send + 'static) -> AsyncTask<Self>
    where
        Self: Task,
    {
        AsyncTask::new(Self(Some(Box::new(work))))
    }

    fn run(&mut self) -> napi::Result<T> {
        let work = self.0.take();
        let run = std::panic::AssertUnwindSafe(|| work.map_or(Err(Errno::EIO), |work| work()));
        let result = std::panic::catch_unwind(run).unwrap_or(Err(Errno::EIO));
        // The errno travels in the reason; the facade makes the error of it.
        result.map_err(|errno| napi::Error::from_reason(errno.name()))
    }
}

impl Task for Work<RemoteDevice> {
    type Output = RemoteDevice;
    type JsValue = NativeRemoteDevice;
    fn compute(&mut self) -> napi::Result<Self::Output> {
        self.run()
    }
    fn resolve(&mut self, _env: Env, device: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(NativeRemoteDevice { open: RefCell::new(Some(device)) })
    }
}

impl Task for Work<Vec<u8>> {
    type Output = Vec<u8>;
    type JsValue = JsBytes;
    fn compute(&mut self) -> napi::Result<Self::Output> {
        self.run()
    }
    fn resolve(&mut self, _env: Env, bytes: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(bytes.into())
    }
}

impl Task for Work<()> {
    type Output = ();
    type JsValue = ();
    fn compute(&mut self) -> napi::Result<Self::Output> {
        self.run()
    }
    fn resolve(&mut self, _env: Env, (): Self::Output) -> napi::Result<Self::JsValue> {
        Ok(())
    }
}

/// Connects to the server at `path`; `patience` is how long, in milliseconds, it may take over a reply.
#[napi(catch_unwind)]
pub fn connect_device(path: String, patience: u32) -> Result<AsyncTask<Work<RemoteDevice>>> {
    let options =
        ClientOptions { patience: Duration::from_millis(patience.into()), ..ClientOptions::default() };
    Ok(Work::new(move || connect(Path::new(&path), &options)))
}

#[napi]
impl NativeRemoteDevice {
    /// Tells whether the connection stands, as far as is known.
    #[napi(getter, catch_unwind)]
    pub fn is_open(&self) -> Result<bool> {
        Ok(self.open.borrow().as_ref().is_some_and(RemoteDevice::is_open))
    }

    /// Describes the device.
    #[napi(catch_unwind)]
    pub fn get_info(&self) -> Result<Info> {
        self.get()?.query_info().map(Info::from).map_err(throw)
    }

    /// Describes a region.
    #[napi(catch_unwind)]
    pub fn get_region_info(&self, index: u32) -> Result<Region> {
        self.get()?.region_info(index).map(Region::from).map_err(throw)
    }

    /// Returns the memory behind a region that the server lets be mapped.
    #[napi(catch_unwind)]
    pub fn region_memory(&self, index: u32) -> Result<Option<NativeMemory>> {
        let region = self.get()?.query_region(index).map_err(throw)?;
        region.memory.map(|memory| NativeMemory::wrap(memory, MemoryKind::File)).transpose()
    }

    /// Describes an interrupt index.
    #[napi(catch_unwind)]
    pub fn get_irq_info(&self, index: u32) -> Result<Irq> {
        self.get()?.query_irq(index).map(Irq::from).map_err(throw)
    }

    /// Sets up, triggers, masks or unmasks interrupts.
    #[napi(catch_unwind)]
    pub fn set_irqs(&self, request: IrqRequest) -> Result<()> {
        let request: IrqSet = request.into();
        self.get()?.set_irqs(&request).map_err(throw)
    }

    /// Resets the device.
    #[napi(catch_unwind)]
    pub fn reset(&self) -> Result<()> {
        self.get()?.reset().map_err(throw)
    }

    /// Reads from a region.
    #[napi(catch_unwind)]
    pub fn read(&self, region: u32, offset: BigInt, length: u32) -> Result<JsBytes> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let mut bytes = vec![0; length as usize];
        device.read(region, offset, &mut bytes).map_err(throw)?;
        Ok(bytes.into())
    }

    /// Writes to a region.
    #[napi(catch_unwind)]
    pub fn write(&self, region: u32, offset: BigInt, data: JsBytes) -> Result<()> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let bytes = data.to_vec();
        device.write(region, offset, &bytes).map(drop).map_err(throw)
    }

    /// Reads from a region without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_read(&self, region: u32, offset: BigInt, length: u32) -> Result<AsyncTask<Work<Vec<u8>>>> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        Ok(Work::new(move || {
            let mut bytes = vec![0; length as usize];
            device.read(region, offset, &mut bytes).map(|_| bytes)
        }))
    }

    /// Writes to a region without waiting here.
    #[napi(catch_unwind)]
    pub fn submit_write(&self, region: u32, offset: BigInt, data: JsBytes) -> Result<AsyncTask<Work<()>>> {
        let (device, offset) = (self.get()?, u64(&offset, "offset")?);
        let bytes = data.to_vec();
        Ok(Work::new(move || device.write(region, offset, &bytes).map(drop)))
    }

    /// Lends memory to the device. `prot`: 1 it may read, 2 it may write.
    #[napi(catch_unwind)]
    pub fn dma_map(
        &self,
        iova: BigInt,
        memory: u32,
        offset: BigInt,
        length: BigInt,
        prot: u32,
        by_message: bool,
    ) -> Result<()> {
        let object = handles::get(memory).map_err(throw)?;
        let memory = object.memory().map_err(throw)?.clone();
        let mut rights = Prot::empty();
        rights.set(Prot::READ, prot & 1 != 0);
        rights.set(Prot::WRITE, prot & 2 != 0);
        let (iova, offset, length) = (u64(&iova, "iova")?, u64(&offset, "offset")?, u64(&length, "length")?);
        self.get()?.dma_map(iova, &memory, offset, length, rights, by_message).map_err(throw)
    }

    /// Takes memory back.
    #[napi(catch_unwind)]
    pub fn dma_unmap(&self, iova: BigInt, length: BigInt) -> Result<()> {
        self.get()?.dma_unmap(u64(&iova, "iova")?, u64(&length, "length")?).map_err(throw)
    }

    /// Ends the connection.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        if let Some(device) = self.open.borrow_mut().take() {
            device.close();
        }
        Ok(())
    }
}
