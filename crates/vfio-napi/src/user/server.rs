//! `NativeServer`: a device behind a socket, with the requests to it that are JavaScript's.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::RefUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::{BigInt, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use parking_lot::Mutex;
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{IrqData, IrqFd};
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;
use vfio_wire::server::{Server, ServerEvent, ServerOptions};

use super::local::Local;
use super::mailbox::{Answer, Mailbox, Request};
use super::served_device::ServedDevice;
use super::served_layout::ServedLayout;
use crate::dma::NativeDma;
use crate::errno::{Result, failure, throw};
use crate::event_fd::NativeEventFd;
use crate::handles;
use crate::js::Callback;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::realm::{self, Realm};

/// Serves a device until it is closed, and keeps the event loop until it has stopped.
#[napi]
pub struct NativeServer {
    server: Server,
    mailbox: Arc<Mailbox>,
    events: Arc<Mutex<VecDeque<ServerEvent>>>,
    /// What requests that JavaScript has taken out carry beside numbers and bytes.
    carried: RefCell<HashMap<u32, Carried>>,
    realm: Arc<Realm>,
    holds_loop: RefCell<bool>,
    /// Notes, until it has stopped, which thread must not wait for this server.
    local: RefCell<Option<Local>>,
}

impl RefUnwindSafe for NativeServer {}

/// Events that JavaScript has not taken yet.
const MAX_EVENTS: usize = 4096;

enum Carried {
    Dma(Arc<dyn DmaSpace>),
    Events(Vec<IrqFd>),
}

/// Settings of a server.
#[napi(object, object_to_js = false)]
pub struct ServeSettings {
    /// Bytes of data in one message.
    pub max_transfer: Option<u32>,
    /// Mappings that a client may have.
    pub max_mappings: Option<u32>,
    /// Milliseconds that a client may take over introducing itself or finishing a message.
    pub patience: Option<u32>,
    /// Milliseconds that the device may take over a request.
    pub answer_within: Option<u32>,
    /// No reset when a client goes.
    pub keep_state: Option<bool>,
    /// Only this user is let in.
    pub uid: Option<u32>,
}

/// A request to the device.
#[napi(object, object_from_js = false)]
pub struct ServedRequest {
    /// By which it is answered.
    pub token: u32,
    /// `open`, `close`, `info`, `region-info`, `irq-info`, `set-irqs`, `reset`, `read`, `write`, `dma-unmap`, `feature`,
    /// `migration-read`, `migration-write`.
    pub kind: &'static str,
    /// Region or interrupt index.
    pub index: u32,
    /// Offset or address.
    pub offset: BigInt,
    /// Bytes asked for, or interrupts.
    pub length: BigInt,
    /// Flags of an interrupt or feature request.
    pub flags: u32,
    /// First interrupt of a request.
    pub start: u32,
    /// What is to be written, or booleans.
    pub data: Option<JsBytes>,
    /// Descriptors of an interrupt request: 1 an event, -1 none, another negative number what looking it up fails with.
    pub events: Option<Vec<i32>>,
}

/// Something that happened to the server.
#[napi(object, object_from_js = false)]
pub struct ServedEvent {
    /// `attached`, `detached`, `refused`, `stopped`.
    pub kind: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// Process that attached.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: Option<u32>,
    /// Minor version that was agreed on.
    pub minor: Option<u32>,
}

#[napi]
impl NativeServer {
    /// Starts to serve at `path`. `wake` runs when there are requests or events to take. A device that is native is
    /// called without JavaScript, opening and closing apart.
    #[napi(factory, catch_unwind)]
    pub fn start(
        env: Env,
        path: String,
        settings: ServeSettings,
        wake: Function<(), ()>,
        native: Option<u32>,
    ) -> Result<Self> {
        let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
        let callback = Arc::new(Callback::new(realm.clone(), wake.raw())?);
        let mailbox = Mailbox::new(callback.clone());
        let events = Arc::new(Mutex::new(VecDeque::new()));
        let told = events.clone();
        let tell = Arc::new(move |event: ServerEvent| {
            {
                let mut events = told.lock();
                // Clients come and go faster than JavaScript looks, if they want to: the oldest of them are forgotten.
                if events.len() >= MAX_EVENTS {
                    events.pop_front();
                }
                events.push_back(event);
            }
            let callback = callback.clone();
            callback.clone().realm().post(move |_| callback.call(&[]));
        });
        let native = native.map(device).transpose().map_err(throw)?;
        let options = options(&settings);
        let served = ServedDevice::new(mailbox.clone(), native, options.answer_within);
        let thread = served.runs_on();
        let server = Server::start(served, Path::new(&path), options, tell).map_err(throw)?;
        let local = thread.and_then(|thread| Local::new(Path::new(&path), thread));
        realm.keep_loop();
        Ok(Self {
            server,
            mailbox,
            events,
            carried: RefCell::default(),
            realm,
            holds_loop: RefCell::new(true),
            local: RefCell::new(local),
        })
    }

    /// Takes the next request; nothing: there is none, and the next wakes.
    #[napi(catch_unwind)]
    pub fn next_request(&self) -> Result<Option<ServedRequest>> {
        Ok(self.mailbox.take().map(|(token, request)| self.describe(token, request)))
    }

    /// Takes the next event.
    #[napi(catch_unwind)]
    pub fn next_event(&self) -> Result<Option<ServedEvent>> {
        let event = self.events.lock().pop_front();
        Ok(event.map(|event| self.tell(event)))
    }

    /// Returns the client's memory that an `open` came with.
    #[napi(catch_unwind)]
    pub fn take_dma(&self, token: u32, name: String) -> Result<NativeDma> {
        match self.carried.borrow_mut().remove(&token) {
            Some(Carried::Dma(space)) => NativeDma::view(space, name),
            _ => Err(throw(Errno::EINVAL)),
        }
    }

    /// Returns an event that a `set-irqs` came with.
    #[napi(catch_unwind)]
    pub fn take_event(&self, token: u32, entry: u32) -> Result<NativeEventFd> {
        match self.carried.borrow().get(&token) {
            Some(Carried::Events(entries)) => match entries.get(entry as usize) {
                Some(IrqFd::Fd(event)) => NativeEventFd::wrap(event.clone()),
                Some(IrqFd::Bad(errno)) => Err(throw(*errno)),
                _ => Err(throw(Errno::EINVAL)),
            },
            _ => Err(throw(Errno::EINVAL)),
        }
    }

    /// Answers a request: `status` 0, or the errno negated.
    #[napi(catch_unwind)]
    pub fn answer(
        &self,
        token: u32,
        status: i32,
        numbers: Option<Vec<BigInt>>,
        data: Option<JsBytes>,
    ) -> Result<()> {
        self.carried.borrow_mut().remove(&token);
        let answer = if status < 0 {
            Err(Errno::from_code(status.saturating_neg()).unwrap_or(Errno::EIO))
        } else {
            let numbers = numbers.unwrap_or_default();
            let numbers: Result<Vec<u64>> = numbers.iter().map(|number| u64(number, "numbers")).collect();
            Ok(Answer { numbers: numbers?, data: data.map_or_else(Vec::new, |data| data.0), layout: None })
        };
        self.mailbox.answer(token, answer);
        Ok(())
    }

    /// Answers an `open`: the device is open, and this part of it needs no JavaScript.
    #[napi(catch_unwind)]
    pub fn answer_open(&self, token: u32, layout: ServedLayout) -> Result<()> {
        let layout = layout.native()?;
        self.carried.borrow_mut().remove(&token);
        self.mailbox.answer(token, Ok(Answer { layout: Some(layout), ..Answer::default() }));
        Ok(())
    }

    /// Sends the client away and stops listening; the event `stopped` tells when that is done.
    #[napi(catch_unwind)]
    pub fn stop(&self) -> Result<()> {
        self.server.stop();
        Ok(())
    }
}

impl NativeServer {
    fn describe(&self, token: u32, request: Request) -> ServedRequest {
        let mut told = ServedRequest {
            token,
            kind: "",
            index: 0,
            offset: 0_u64.into(),
            length: 0_u64.into(),
            flags: 0,
            start: 0,
            data: None,
            events: None,
        };
        match request {
            Request::Open(space) => {
                self.carried.borrow_mut().insert(token, Carried::Dma(space));
                told.kind = "open";
            }
            Request::Close => told.kind = "close",
            Request::Info => told.kind = "info",
            Request::Reset => told.kind = "reset",
            Request::RegionInfo(index) => (told.kind, told.index) = ("region-info", index),
            Request::IrqInfo(index) => (told.kind, told.index) = ("irq-info", index),
            Request::Read { region, offset, len } => {
                (told.kind, told.index) = ("read", region);
                (told.offset, told.length) = (offset.into(), (len as u64).into());
            }
            Request::Write { region, offset, data } => {
                (told.kind, told.index, told.offset) = ("write", region, offset.into());
                told.data = Some(JsBytes(data));
            }
            Request::DmaUnmap(range) => {
                told.kind = "dma-unmap";
                (told.offset, told.length) = (range.start().into(), (range.last() - range.start()).into());
            }
            Request::Feature { flags, data } => {
                (told.kind, told.flags, told.data) = ("feature", flags, Some(JsBytes(data)));
            }
            Request::MigrationRead(size) => {
                (told.kind, told.length) = ("migration-read", (size as u64).into());
            }
            Request::MigrationWrite(data) => {
                (told.kind, told.data) = ("migration-write", Some(JsBytes(data)))
            }
            Request::SetIrqs(header, data) => {
                (told.kind, told.index, told.flags) = ("set-irqs", header.index, header.flags);
                (told.start, told.length) = (header.start, u64::from(header.count).into());
                match data {
                    IrqData::None => {}
                    IrqData::Bool(bools) => told.data = Some(JsBytes(bools)),
                    IrqData::EventFds(entries) => {
                        told.events = Some(entries.iter().map(entry_number).collect());
                        self.carried.borrow_mut().insert(token, Carried::Events(entries));
                    }
                }
            }
        }
        told
    }

    fn tell(&self, event: ServerEvent) -> ServedEvent {
        let mut told = ServedEvent { kind: "", reason: None, pid: None, uid: None, minor: None };
        match event {
            ServerEvent::Attached { peer, minor } => {
                told.kind = "attached";
                (told.pid, told.uid, told.minor) = (Some(peer.pid), Some(peer.uid), Some(minor.into()));
            }
            ServerEvent::Detached { reason } => (told.kind, told.reason) = ("detached", Some(reason)),
            ServerEvent::Refused { reason } => (told.kind, told.reason) = ("refused", Some(reason)),
            ServerEvent::Stopped => {
                told.kind = "stopped";
                self.local.take();
                self.let_loop_end();
            }
        }
        told
    }

    fn let_loop_end(&self) {
        if self.holds_loop.replace(false) {
            self.realm.let_loop_end();
        }
    }
}

impl Drop for NativeServer {
    fn drop(&mut self) {
        self.server.stop();
        self.mailbox.close();
        self.let_loop_end();
    }
}

/// The native device behind a handle.
fn device(handle: u32) -> std::result::Result<Arc<dyn VfioDeviceOps>, Errno> {
    Ok(handles::get(handle)?.vfio_pci()?.clone())
}

fn entry_number(entry: &IrqFd) -> i32 {
    match entry {
        IrqFd::Fd(_) => 1,
        IrqFd::Unset | IrqFd::Negative(_) => -1,
        IrqFd::Bad(errno) => -1 - errno.code(),
    }
}

fn options(settings: &ServeSettings) -> ServerOptions {
    let default = ServerOptions::default();
    ServerOptions {
        max_data_xfer_size: settings.max_transfer.map_or(default.max_data_xfer_size, u64::from),
        max_dma_maps: settings.max_mappings.map_or(default.max_dma_maps, u64::from),
        patience: settings.patience.map_or(default.patience, |ms| Duration::from_millis(ms.into())),
        answer_within: settings
            .answer_within
            .map_or(default.answer_within, |ms| Duration::from_millis(ms.into())),
        keep_state: settings.keep_state.unwrap_or(default.keep_state),
        allowed_uid: settings.uid,
        ..default
    }
}
