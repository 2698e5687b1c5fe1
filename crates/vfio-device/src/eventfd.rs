//! Event counters that interrupts are delivered through: eventfds on Linux, counters of this process elsewhere.
//!
//! A counter can be subscribed to: what `vfio-pci` does with an unmask eventfd (a "virqfd"). Whoever writes through this
//! module runs the subscribers before the write returns; writers outside (another process, a raw `write`) are noticed
//! by one thread, which starts when the first counter that they could know of is subscribed to.

mod counter;
#[cfg(target_os = "linux")]
mod poller;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use counter::Counter;
use turn::Turn;

/// The largest value that a counter holds.
pub(crate) const MAX: u64 = u64::MAX - 1;

/// Tells a subscriber what happened to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The count may have become non-zero; read it to know.
    Readable,
    /// The last descriptor of the counter was closed.
    HangUp,
}

/// What a subscriber runs. It is called without any lock held, and may be called once too often.
type Callback = Arc<dyn Fn(Event) + Send + Sync>;

/// Counts events until somebody reads them; a clone is the same counter.
#[derive(Clone)]
pub struct EventFd(Arc<Inner>);

struct Inner {
    counter: Counter,
    /// Somebody outside this module may write to the counter.
    exported: AtomicBool,
    /// Number under which outside writers are watched; 0 while they are not.
    #[cfg(target_os = "linux")]
    watched_as: AtomicU64,
    next_id: AtomicU64,
    subscribers: Mutex<Vec<(u64, Callback)>>,
}

/// Keeps a callback subscribed until dropped.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    event: Weak<Inner>,
    id: u64,
}

impl EventFd {
    /// Makes a counter that holds `initial`: an eventfd where there are any.
    ///
    /// # Errors
    /// `EINVAL` beyond 2^64-2; `EMFILE`, `ENFILE` or `ENOMEM` from the operating system.
    pub fn new(initial: u64) -> Result<Self, Errno> {
        Self::over(Counter::new()?, initial)
    }

    /// Makes a counter that no other process can reach, without a descriptor.
    ///
    /// # Errors
    /// `EINVAL` beyond 2^64-2.
    pub fn in_process(initial: u64) -> Result<Self, Errno> {
        Self::over(Counter::local(), initial)
    }

    fn over(counter: Counter, initial: u64) -> Result<Self, Errno> {
        counter.add(initial).map_err(|_| Errno::EINVAL)?;
        Ok(Self::wrap(counter, false))
    }

    fn wrap(counter: Counter, exported: bool) -> Self {
        Self(Arc::new(Inner {
            counter,
            exported: AtomicBool::new(exported),
            #[cfg(target_os = "linux")]
            watched_as: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            subscribers: Mutex::new(Vec::new()),
        }))
    }

    /// Takes over an eventfd that somebody passed.
    ///
    /// # Errors
    /// `EINVAL` the descriptor is no eventfd; `EOPNOTSUPP` there are none here.
    #[cfg(unix)]
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        Ok(Self::wrap(Counter::from_fd(fd)?, true))
    }

    /// Adds `value`, stopping at 2^64-2: an event is never lost for want of room, and the caller never waits.
    pub fn signal(&self, value: u64) {
        self.0.counter.saturating_add(value);
        self.0.notify(Event::Readable);
    }

    /// Adds `value` as a write to a non-blocking eventfd does.
    ///
    /// # Errors
    /// `EINVAL` for 2^64-1; `EAGAIN` the counter has no room.
    pub fn add(&self, value: u64) -> Result<(), Errno> {
        self.0.counter.add(value)?;
        self.0.notify(Event::Readable);
        Ok(())
    }

    /// Takes the count; `None` when it is zero.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        self.0.counter.take()
    }

    /// Tells the count, which stays.
    ///
    /// # Errors
    /// `EOPNOTSUPP` the operating system does not tell (`/proc` is not there).
    pub fn count(&self) -> Result<u64, Errno> {
        self.0.counter.count()
    }

    /// Tells whether the counter has room: whether 1 could be added.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.counter.is_writable()
    }

    /// Tells whether the count is not zero.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.0.counter.is_readable()
    }

    /// Borrows the descriptor, where there is one. From now on outside writers are reckoned with.
    ///
    /// # Errors
    /// What [`subscribe`](Self::subscribe) fails with, if the counter has subscribers already.
    #[cfg(unix)]
    pub fn as_fd(&self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        let Some(fd) = self.0.counter.as_fd() else { return Ok(None) };
        if !self.0.exported.swap(true, Ordering::AcqRel) && !self.0.subscribers.lock().is_empty() {
            watch(&self.0)?;
        }
        Ok(Some(fd.as_fd()))
    }

    /// Tells whether both are the same counter of this process.
    #[must_use]
    pub fn same_counter(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Runs `callback` whenever the count may have become non-zero, until the subscription is dropped.
    ///
    /// # Errors
    /// `ENOMEM` or `EMFILE` when outside writers cannot be watched.
    pub fn subscribe(&self, callback: impl Fn(Event) + Send + Sync + 'static) -> Result<Subscription, Errno> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        self.0.subscribers.lock().push((id, Arc::new(callback)));
        let subscription = Subscription { event: Arc::downgrade(&self.0), id };
        if self.0.exported.load(Ordering::Acquire) {
            watch(&self.0)?;
        }
        Ok(subscription)
    }

    /// Tells the subscribers that the last descriptor of this counter was closed by its owner.
    pub fn hang_up(&self) {
        self.0.notify(Event::HangUp);
    }
}

impl Inner {
    /// Tells the subscribers. A counter that they signal in turn is seen to when they have returned, so that counters
    /// which signal each other in a circle do not pile up calls, and not for ever; false when it had to be broken off.
    fn notify(&self, event: Event) -> bool {
        if self.subscribers.lock().is_empty() {
            return true;
        }
        let Some(turn) = Turn::begin(self) else { return true };
        loop {
            if !turn.spend() {
                return false;
            }
            let callbacks: Vec<Callback> =
                self.subscribers.lock().iter().map(|(_, callback)| Arc::clone(callback)).collect();
            for callback in callbacks {
                callback(event);
            }
            if !turn.take_again() {
                return true;
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Inner {
    fn drop(&mut self) {
        poller::forget(self);
    }
}

#[cfg(target_os = "linux")]
fn watch(inner: &Arc<Inner>) -> Result<(), Errno> {
    poller::watch(inner)
}

#[cfg(not(target_os = "linux"))]
fn watch(_inner: &Arc<Inner>) -> Result<(), Errno> {
    Ok(())
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(inner) = self.event.upgrade() else { return };
        let removed = {
            let mut subscribers = inner.subscribers.lock();
            let at = subscribers.iter().position(|(id, _)| *id == self.id);
            at.map(|at| subscribers.swap_remove(at))
        };
        // The callback may own the last reference to what it works for: let it go without the lock.
        drop(removed);
    }
}

impl fmt::Debug for EventFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFd").field("readable", &self.is_readable()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}
