//! `NativeEventFd`: an event counter, and watching it on the event loop.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;

use napi::bindgen_prelude::{BigInt, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_device::EventFd;
use vfio_uapi::Errno;

use crate::errno::{Result, failure, throw};
use crate::handles::Handle;
use crate::js::Callback;
use crate::numbers::u64;
use crate::object::Object;
use crate::realm;
use crate::watch::Watch;

/// Counts events until somebody takes the count.
#[napi]
pub struct NativeEventFd {
    open: RefCell<Option<(EventFd, Handle)>>,
    watch: RefCell<Option<Watch>>,
}

impl RefUnwindSafe for NativeEventFd {}

impl NativeEventFd {
    /// Wraps a counter for JavaScript.
    pub(crate) fn wrap(event: EventFd) -> Result<Self> {
        let handle = Handle::new(Object::EventFd(event.clone())).map_err(throw)?;
        Ok(Self { open: RefCell::new(Some((event, handle))), watch: RefCell::default() })
    }

    fn get(&self) -> Result<EventFd> {
        self.open.borrow().as_ref().map(|(event, _)| event.clone()).ok_or_else(|| throw(Errno::EBADF))
    }
}

#[napi]
impl NativeEventFd {
    /// Makes a counter: an eventfd where there are any.
    #[napi(factory, catch_unwind)]
    pub fn create(initial: BigInt) -> Result<Self> {
        Self::wrap(EventFd::new(u64(&initial, "initial")?).map_err(throw)?)
    }

    /// Makes a counter without a descriptor, as systems without eventfds have it.
    #[napi(factory, catch_unwind)]
    pub fn in_process(initial: BigInt) -> Result<Self> {
        Self::wrap(EventFd::in_process(u64(&initial, "initial")?).map_err(throw)?)
    }

    /// Takes part in an eventfd; the descriptor is duplicated.
    #[napi(factory, catch_unwind)]
    pub fn from_fd(fd: i32) -> Result<Self> {
        Self::wrap(duplicate(fd).map_err(throw)?)
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |(_, handle)| handle.number()))
    }

    /// Returns the descriptor, or -1.
    #[napi(catch_unwind)]
    pub fn fd(&self) -> Result<i32> {
        let event = self.get()?;
        #[cfg(unix)]
        if let Some(fd) = event.as_fd().map_err(throw)? {
            return Ok(std::os::fd::AsRawFd::as_raw_fd(&fd));
        }
        drop(event);
        Ok(-1)
    }

    /// Calls back at each turn of the event loop at which there is a count, and takes it.
    #[napi(catch_unwind)]
    pub fn watch(&self, env: Env, callback: Function<BigInt, ()>) -> Result<()> {
        let event = self.get()?;
        if self.watch.borrow().is_some() {
            return Err(throw(Errno::EBUSY));
        }
        let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
        let callback = Callback::new(realm, callback.raw())?;
        let watch = Watch::start(event, callback).map_err(throw)?;
        *self.watch.borrow_mut() = Some(watch);
        Ok(())
    }

    /// Ends watching.
    #[napi(catch_unwind)]
    pub fn unwatch(&self) -> Result<()> {
        let watch = self.watch.borrow_mut().take();
        drop(watch);
        Ok(())
    }

    /// Lets the counter go and hangs up: an interrupt that is enabled keeps it, and whoever only waits for it lets go.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        self.unwatch()?;
        let open = self.open.borrow_mut().take();
        if let Some((event, _)) = open {
            event.hang_up();
        }
        Ok(())
    }
}

#[cfg(unix)]
fn duplicate(fd: i32) -> std::result::Result<EventFd, Errno> {
    EventFd::from_fd(crate::fd::duplicate(fd)?)
}

#[cfg(not(unix))]
fn duplicate(_fd: i32) -> std::result::Result<EventFd, Errno> {
    Err(Errno::EOPNOTSUPP)
}
