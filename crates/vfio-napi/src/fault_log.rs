//! `NativeFaultLog`: refused DMA, explained.

use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::{BigInt, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_iommu::{Access, FaultLog, FaultReason, FaultRecord, MapChange, MapEvent};

use crate::errno::{Result, failure};
use crate::js::Callback;
use crate::numbers::Range;
use crate::realm;

/// Bounded log of refused DMA.
#[napi]
pub struct NativeFaultLog {
    log: Arc<FaultLog>,
}

impl RefUnwindSafe for NativeFaultLog {}

/// A refused DMA.
#[napi(object, object_from_js = false)]
pub struct Fault {
    /// Number of the fault in its log.
    pub sequence: BigInt,
    /// Name of the device.
    pub device: String,
    /// First address refused.
    pub iova: BigInt,
    /// Bytes from there on.
    pub length: BigInt,
    /// `read` or `write`.
    pub access: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Nearest mapping at or below.
    pub below: Option<Range>,
    /// Nearest mapping above.
    pub above: Option<Range>,
    /// What last changed there.
    pub last_event: Option<Change>,
    /// The whole story.
    pub text: String,
}

/// A change of the mappings.
#[napi(object, object_from_js = false)]
pub struct Change {
    /// `map` or `unmap`.
    pub kind: &'static str,
    /// First address.
    pub start: BigInt,
    /// Last address.
    pub last: BigInt,
    /// How many changes came later.
    pub ago: BigInt,
}

impl From<FaultRecord> for Fault {
    fn from(record: FaultRecord) -> Self {
        Self {
            sequence: record.sequence.into(),
            device: record.device.to_string(),
            iova: record.fault.iova.into(),
            length: record.fault.len.into(),
            access: match record.fault.access {
                Access::Read => "read",
                Access::Write => "write",
            },
            reason: match record.fault.reason {
                FaultReason::NoMapping => "no-mapping",
                FaultReason::Permission => "permission",
                FaultReason::OutsideWindow => "outside-window",
                FaultReason::Detached => "detached",
                FaultReason::Misaligned => "misaligned",
                FaultReason::Frozen => "frozen",
                FaultReason::BusMasterOff => "bus-master-off",
                FaultReason::NotAttached => "not-attached",
                FaultReason::WouldBlock => "would-block",
                FaultReason::OutOfMemory => "out-of-memory",
                FaultReason::PageRequested => "page-requested",
                FaultReason::BrokenTable => "broken-table",
                FaultReason::Unbacked => "unbacked",
            },
            below: record.context.below.map(Range::from),
            above: record.context.above.map(Range::from),
            last_event: record.context.last_change.map(Change::from),
            text: record.explain(),
        }
    }
}

impl From<MapEvent> for Change {
    fn from(event: MapEvent) -> Self {
        Self {
            kind: match event.change {
                MapChange::Mapped => "map",
                MapChange::Unmapped => "unmap",
            },
            start: event.range.start().into(),
            last: event.range.last().into(),
            ago: event.ago.into(),
        }
    }
}

impl NativeFaultLog {
    /// Returns the log itself.
    pub(crate) fn log(&self) -> &Arc<FaultLog> {
        &self.log
    }

    /// Wraps a log for JavaScript.
    pub(crate) fn new(log: Arc<FaultLog>) -> Self {
        Self { log }
    }
}

#[napi]
impl NativeFaultLog {
    /// Makes a log of its own.
    #[napi(factory, catch_unwind)]
    pub fn create() -> Result<Self> {
        Ok(Self::new(Arc::default()))
    }

    /// Counts the faults since the log was made.
    #[napi(catch_unwind)]
    pub fn total(&self) -> Result<BigInt> {
        Ok(self.log.total().into())
    }

    /// Returns the records that are kept, oldest first, from those after `sequence` on.
    #[napi(catch_unwind)]
    pub fn records(&self, sequence: f64) -> Result<Vec<Fault>> {
        let newer = |record: &FaultRecord| record.sequence as f64 > sequence;
        Ok(self.log.records().into_iter().filter(newer).map(Fault::from).collect())
    }

    /// Forgets the records.
    #[napi(catch_unwind)]
    pub fn clear(&self) -> Result<()> {
        self.log.clear();
        Ok(())
    }

    /// Sets how many records are kept.
    #[napi(catch_unwind)]
    pub fn set_capacity(&self, records: u32) -> Result<()> {
        self.log.set_capacity(records as usize);
        Ok(())
    }

    /// Has `listener` run at a turn of the event loop after faults, once for all that came before; undefined
    /// ends it. It does not keep the loop alive.
    #[napi(catch_unwind)]
    pub fn set_listener(&self, env: Env, listener: Option<Function<(), ()>>) -> Result<()> {
        let Some(listener) = listener else {
            self.log.set_listener(None);
            return Ok(());
        };
        let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
        let callback = Arc::new(Callback::new(realm, listener.raw())?);
        let pending = Arc::new(AtomicBool::new(false));
        self.log.set_listener(Some(Arc::new(move |_| {
            if !pending.swap(true, Ordering::AcqRel) {
                let (callback, pending) = (callback.clone(), pending.clone());
                let realm = callback.realm().clone();
                realm.post(move |_| {
                    pending.store(false, Ordering::Release);
                    callback.call(&[]);
                });
            }
        })));
        Ok(())
    }
}
