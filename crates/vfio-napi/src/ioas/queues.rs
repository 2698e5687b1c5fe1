//! `NativePageRequests`, `NativeEventQueue`: what user space reads.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::ioas::{
    AttachId, EventQueue, PageAnswer, PageGroup, PageRequest, PageRequests, ReadyListener,
};
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;

/// Bytes of a request as it is read.
const REQUEST_SIZE: usize = 40;

/// Page requests of devices.
#[napi]
pub struct NativePageRequests {
    pub(super) requests: Arc<PageRequests>,
}

/// Events of a virtual IOMMU.
#[napi]
pub struct NativeEventQueue {
    pub(super) queue: Arc<EventQueue>,
}

impl RefUnwindSafe for NativePageRequests {}
impl RefUnwindSafe for NativeEventQueue {}

/// Signals the event counter of a handle.
fn signals(event: u32) -> Result<ReadyListener> {
    let event = handles::get(event).map_err(throw)?.event_fd().map_err(throw)?.clone();
    Ok(Arc::new(move || event.signal(1)))
}

/// Writes a request as `struct iommu_hwpt_pgfault`.
fn encode(request: &PageRequest) -> [u8; REQUEST_SIZE] {
    let mut bytes = [0; REQUEST_SIZE];
    let PageRequest { flags, device, pasid, group, perm, addr, cookie } = *request;
    for (at, word) in [flags, device, pasid, group, perm].into_iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes[24..32].copy_from_slice(&addr.to_le_bytes());
    bytes[36..].copy_from_slice(&cookie.to_le_bytes());
    bytes
}

#[napi]
impl NativePageRequests {
    /// Makes an empty queue, which signals the event of a handle when there is something to read.
    #[napi(constructor, catch_unwind)]
    pub fn new(event: u32) -> Result<Self> {
        let requests = PageRequests::new();
        requests.on_ready(Some(signals(event)?));
        Ok(Self { requests })
    }

    /// Tells whether there is something to read.
    #[napi(catch_unwind)]
    pub fn readable(&self) -> Result<bool> {
        Ok(self.requests.is_readable())
    }

    /// Reads whole groups, of at most `room` requests.
    #[napi(catch_unwind)]
    pub fn read(&self, room: u32) -> Result<JsBytes> {
        let requests = self.requests.read(room as usize).map_err(throw)?;
        Ok(requests.iter().flat_map(encode).collect::<Vec<u8>>().into())
    }

    /// Answers a group.
    #[napi(catch_unwind)]
    pub fn answer(&self, cookie: u32, success: bool) -> Result<()> {
        let answer = if success { PageAnswer::Success } else { PageAnswer::Invalid };
        self.requests.answer(cookie, answer).map_err(throw)
    }

    /// Adds a request that no access waits for.
    #[napi(catch_unwind)]
    pub fn report(
        &self,
        device: u32,
        pasid: Option<u32>,
        number: u32,
        perm: u32,
        page: BigInt,
    ) -> Result<()> {
        let pages = vec![u64(&page, "page")?];
        // No attachment has the number 0: nobody gives it up.
        let group = PageGroup { attach: AttachId(0), device, pasid, number, perm, pages };
        self.requests.report(group).map_err(throw)
    }

    /// Gives up what is not answered.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        self.requests.close();
        Ok(())
    }
}

#[napi]
impl NativeEventQueue {
    /// Makes a queue with room for `depth` events, which signals the event of a handle when there is something to read.
    #[napi(constructor, catch_unwind)]
    pub fn new(depth: u32, event: u32) -> Result<Self> {
        let queue = EventQueue::new(depth);
        queue.on_ready(Some(signals(event)?));
        Ok(Self { queue })
    }

    /// Tells whether there is something to read.
    #[napi(catch_unwind)]
    pub fn readable(&self) -> Result<bool> {
        Ok(self.queue.is_readable())
    }

    /// Reads headers with their events, as many as fit into `room` bytes.
    #[napi(catch_unwind)]
    pub fn read(&self, room: u32) -> Result<JsBytes> {
        Ok(self.queue.read(room as usize).map_err(throw)?.into())
    }

    /// Adds an event.
    #[napi(catch_unwind)]
    pub fn report(&self, data: JsBytes) -> Result<()> {
        if data.is_empty() {
            return Err(throw(Errno::EINVAL));
        }
        self.queue.report(&data);
        Ok(())
    }

    /// Lets the event go.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        self.queue.on_ready(None);
        Ok(())
    }
}
