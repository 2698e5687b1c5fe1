//! `NativeDma`: a device's view of memory.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::Env;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::type1::{DeviceId, Type1};
use vfio_iommu::{DmaFault, DmaSpace, FaultLog};
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::Handle;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::object::{DmaView, Object};
use crate::promise::{JsPromise, promise};
use crate::shared_objects;

/// What one device sees of memory.
#[napi]
pub struct NativeDma {
    name: String,
    open: RefCell<Option<Open>>,
}

struct Open {
    space: Arc<dyn DmaSpace>,
    handle: Handle,
    /// Where the device is closed with it.
    device: Option<Opened>,
}

/// What closing a device means.
enum Opened {
    /// Type1 lets its pins go.
    Type1(Type1, DeviceId),
    /// The view looks at a flag.
    Flag(Arc<AtomicBool>),
}

impl Drop for Open {
    fn drop(&mut self) {
        match self.device.take() {
            Some(Opened::Type1(type1, device)) => type1.close_device(device),
            Some(Opened::Flag(open)) => open.store(false, Ordering::Release),
            None => {}
        }
    }
}

impl RefUnwindSafe for NativeDma {}

impl NativeDma {
    /// Wraps the view of a device that type1 opened.
    pub(crate) fn opened(
        space: Arc<dyn DmaSpace>,
        name: String,
        type1: Type1,
        device: DeviceId,
    ) -> Result<Self> {
        let faults = type1.faults().clone();
        Self::wrap(space, name, Some(Opened::Type1(type1, device)), Some(faults))
    }

    /// Wraps the view of a device, which closing this object ends by clearing `open`.
    pub(crate) fn flagged(
        space: Arc<dyn DmaSpace>,
        name: String,
        open: Arc<AtomicBool>,
        faults: Arc<FaultLog>,
    ) -> Result<Self> {
        Self::wrap(space, name, Some(Opened::Flag(open)), Some(faults))
    }

    /// Wraps a view that is not closed with this object, whose refusals are logged.
    pub(crate) fn logged(space: Arc<dyn DmaSpace>, name: String, faults: Arc<FaultLog>) -> Result<Self> {
        Self::wrap(space, name, None, Some(faults))
    }

    /// Wraps a view that is not closed with this object: that of a function, or a client's memory.
    pub(crate) fn view(space: Arc<dyn DmaSpace>, name: String) -> Result<Self> {
        Self::wrap(space, name, None, None)
    }

    fn wrap(
        space: Arc<dyn DmaSpace>,
        name: String,
        device: Option<Opened>,
        faults: Option<Arc<FaultLog>>,
    ) -> Result<Self> {
        let handle = Handle::new(Object::Dma(DmaView { space: space.clone(), faults })).map_err(throw)?;
        Ok(Self { name, open: RefCell::new(Some(Open { space, handle, device })) })
    }

    fn space(&self) -> Result<Arc<dyn DmaSpace>> {
        let space = self.open.borrow().as_ref().map(|open| open.space.clone());
        space.ok_or_else(|| throw(Errno::EBADF))
    }
}

#[napi]
impl NativeDma {
    /// Takes a view that another thread shared.
    #[napi(factory, catch_unwind)]
    pub fn adopt(token: BigInt) -> Result<Self> {
        let (space, name) = shared_objects::adopt_dma(u64(&token, "token")?).map_err(throw)?;
        Self::wrap(space, name, None, None)
    }

    /// Returns the name of the device.
    #[napi(getter, catch_unwind)]
    pub fn name(&self) -> Result<String> {
        Ok(self.name.clone())
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |open| open.handle.number()))
    }

    /// Returns what the device sees by a PASID.
    #[napi(catch_unwind)]
    pub fn with_pasid(&self, pasid: u32) -> Result<NativeDma> {
        let view = self.space()?.with_pasid(pasid).map_err(throw)?;
        Self::view(view, self.name.clone())
    }

    /// Leaves the view for another thread to adopt.
    #[napi(catch_unwind)]
    pub fn share(&self) -> Result<BigInt> {
        Ok(shared_objects::share_dma(self.space()?, self.name.clone()).into())
    }

    /// Reads memory of any kind; the promise is kept when its owner has answered.
    #[napi(catch_unwind)]
    pub fn submit_read(&self, env: Env, iova: BigInt, length: u32) -> Result<JsPromise> {
        let (space, iova) = (self.space()?, u64(&iova, "iova")?);
        let (deferred, promise) = promise(env)?;
        let done = move |read: std::result::Result<Vec<u8>, DmaFault>| {
            deferred.settle(read.map(|bytes| || JsBytes(bytes)).map_err(|fault| fault.errno()));
        };
        space.submit_read(iova, length as usize, Box::new(done));
        Ok(promise)
    }

    /// Writes memory of any kind; the promise is kept when its owner has answered.
    #[napi(catch_unwind)]
    pub fn submit_write(&self, env: Env, iova: BigInt, data: JsBytes) -> Result<JsPromise> {
        let (space, iova) = (self.space()?, u64(&iova, "iova")?);
        let (deferred, promise) = promise(env)?;
        let done = move |written: std::result::Result<(), DmaFault>| {
            deferred.settle(written.map(|()| || ()).map_err(|fault| fault.errno()));
        };
        space.submit_write(iova, data.0, Box::new(done));
        Ok(promise)
    }

    /// Closes the device whose view it is.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let open = self.open.borrow_mut().take();
        drop(open);
        Ok(())
    }
}
