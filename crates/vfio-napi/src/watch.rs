//! Watching an event counter from JavaScript: the count is taken and handed to a callback.
//!
//! A counter with a descriptor is polled by the event loop itself. One without tells its subscribers, on whatever
//! thread it is signalled; they post the delivery, once for all events until it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vfio_device::{EventFd, Subscription};
use vfio_uapi::Errno;

use crate::js::{Argument, Callback};

/// Watches until dropped, and keeps the event loop alive.
pub(crate) enum Watch {
    /// By the event loop.
    #[cfg(target_os = "linux")]
    Polled(#[expect(dead_code, reason = "watches until dropped")] crate::uv::Poll),
    /// By whoever signals.
    Notified(#[expect(dead_code, reason = "watches until dropped")] Notified),
}

/// Delivers what a subscription notices.
pub(crate) struct Notified {
    shared: Arc<Shared>,
    subscription: Option<Subscription>,
}

struct Shared {
    event: EventFd,
    callback: Callback,
    pending: AtomicBool,
    ended: AtomicBool,
}

impl Watch {
    /// Starts watching, on the thread of the callback.
    ///
    /// # Errors
    /// `EMFILE`, or what the event loop refuses with.
    pub(crate) fn start(event: EventFd, callback: Callback) -> Result<Self, Errno> {
        #[cfg(target_os = "linux")]
        if let Some(fd) = event.as_fd()? {
            // Its own descriptor: the loop may go on with it for a turn after the counter is closed.
            let fd = fd.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
            let realm = callback.realm().clone();
            let ready = move || {
                if let Some(count) = event.read() {
                    callback.call(&[Argument::U64(count)]);
                }
            };
            return crate::uv::Poll::start(&realm, fd, ready).map(Self::Polled);
        }
        Notified::start(event, callback).map(Self::Notified)
    }
}

impl Notified {
    fn start(event: EventFd, callback: Callback) -> Result<Self, Errno> {
        let shared = Arc::new(Shared {
            event: event.clone(),
            callback,
            pending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let told = shared.clone();
        let subscription = event.subscribe(move |_| told.notify())?;
        shared.callback.realm().keep_loop();
        let watch = Self { shared, subscription: Some(subscription) };
        if event.is_readable() {
            watch.shared.notify();
        }
        Ok(watch)
    }
}

impl Shared {
    /// Posts the delivery, unless it is under way.
    fn notify(self: &Arc<Self>) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            let shared = self.clone();
            self.callback.realm().post(move |_| shared.deliver());
        }
    }

    fn deliver(&self) {
        self.pending.store(false, Ordering::Release);
        if !self.ended.load(Ordering::Acquire)
            && let Some(count) = self.event.read()
        {
            self.callback.call(&[Argument::U64(count)]);
        }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        drop(self.subscription.take());
        self.shared.callback.realm().let_loop_end();
    }
}
