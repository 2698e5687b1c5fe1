//! A partitionable endpoint: the devices that hardware can isolate only together, and the windows they have.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::RwLock;
use vfio_uapi::Errno;

use super::TceTable;
use super::space::EndpointSpace;
use crate::fault::FaultContext;
use crate::{DmaFault, DmaSpace, FaultLog, FaultReason, Stopped};

/// Number of windows that an endpoint can have.
const SLOTS: usize = 2;

/// Isolates the devices of one group; a clone is another handle to the same one.
#[derive(Clone)]
pub struct Endpoint(Arc<Shared>);

pub(super) struct Shared {
    windows: RwLock<[Option<Arc<TceTable>>; SLOTS]>,
    stopped: AtomicU8,
    freezes: AtomicU64,
    freezing: AtomicBool,
    faults: Arc<FaultLog>,
}

impl Endpoint {
    /// Makes an endpoint without windows. With `freezing`, a refused DMA cuts it off; `faults` hears of each.
    #[must_use]
    pub fn new(freezing: bool, faults: Arc<FaultLog>) -> Self {
        Self(Arc::new(Shared {
            windows: RwLock::default(),
            stopped: AtomicU8::new(0),
            freezes: AtomicU64::new(0),
            freezing: AtomicBool::new(freezing),
            faults,
        }))
    }

    /// Returns the log of refused DMA.
    #[must_use]
    pub fn faults(&self) -> &Arc<FaultLog> {
        &self.0.faults
    }

    /// Puts a table into a slot.
    ///
    /// # Errors
    /// `EINVAL` there is no such slot; `EBUSY` it is taken.
    pub fn set_window(&self, slot: usize, table: Arc<TceTable>) -> Result<(), Errno> {
        let mut windows = self.0.windows.write();
        let place = windows.get_mut(slot).ok_or(Errno::EINVAL)?;
        if place.is_some() {
            return Err(Errno::EBUSY);
        }
        *place = Some(table);
        Ok(())
    }

    /// Empties a slot; no access uses its table when this returns.
    pub fn unset_window(&self, slot: usize) {
        let old = self.0.windows.write().get_mut(slot).and_then(Option::take);
        drop(old); // outside the lock: it may be the last handle to the table
    }

    /// Returns what the endpoint is cut off from.
    #[inline]
    #[must_use]
    pub fn stopped(&self) -> Stopped {
        self.0.stopped()
    }

    /// Cuts the endpoint off, or connects it again.
    pub fn set_stopped(&self, stopped: Stopped) {
        self.0.stopped.store(stopped.bits(), Ordering::Release);
    }

    /// Cuts the endpoint off from registers and memory, as an error does.
    pub fn freeze(&self) {
        self.0.freeze();
    }

    /// Counts the times that an error cut the endpoint off.
    #[must_use]
    pub fn freezes(&self) -> u64 {
        self.0.freezes.load(Ordering::Relaxed)
    }

    /// Gives a device its view of memory. `open` ends it: an access is refused once it is false.
    #[must_use]
    pub fn space_for(&self, device: &str, open: Arc<AtomicBool>) -> Arc<dyn DmaSpace> {
        Arc::new(EndpointSpace::new(Arc::clone(&self.0), device, open))
    }
}

impl Shared {
    fn freeze(&self) {
        let both = (Stopped::IO | Stopped::DMA).bits();
        let before = self.stopped.fetch_or(both, Ordering::AcqRel);
        self.freezes.fetch_add(u64::from(before & both != both), Ordering::Relaxed);
    }

    /// Tells whether errors cut the endpoint off.
    pub(super) fn freezing(&self) -> bool {
        self.freezing.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn stopped(&self) -> Stopped {
        Stopped::from_bits_truncate(self.stopped.load(Ordering::Acquire))
    }

    /// Runs an access with the windows held as they are.
    #[inline]
    pub(super) fn with_windows<T>(&self, run: impl FnOnce(&[Option<Arc<TceTable>>; SLOTS]) -> T) -> T {
        run(&self.windows.read())
    }

    /// Logs a refusal with what is known of the address, and cuts the endpoint off if that is its way.
    ///
    /// No lock or epoch may be held: the log's listener is called.
    #[cold]
    pub(super) fn report(&self, device: &Arc<str>, fault: DmaFault) -> DmaFault {
        let ours = matches!(
            fault.reason,
            FaultReason::NoMapping | FaultReason::Permission | FaultReason::OutsideWindow
        );
        if ours && self.freezing() {
            self.freeze();
        }
        let context = self.with_windows(|windows| {
            let mut context = FaultContext::default();
            for table in windows.iter().flatten() {
                let (below, above) = table.neighbours(fault.iova);
                context.below = context.below.into_iter().chain(below).max();
                context.above = context.above.into_iter().chain(above).min();
                if table.range().contains(fault.iova) {
                    context.last_change = table.history.last_covering(fault.iova);
                }
            }
            context
        });
        self.faults.record(device, fault, context);
        fault
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("stopped", &self.stopped()).finish_non_exhaustive()
    }
}
