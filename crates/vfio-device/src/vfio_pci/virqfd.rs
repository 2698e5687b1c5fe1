//! Eventfds that make the driver do something when they are signalled.

use vfio_uapi::Errno;

use crate::{Event, EventFd, Subscription};

/// Runs a handler at each signal of an eventfd, whose count it takes, until it is dropped.
#[derive(Debug)]
pub(super) struct Virqfd {
    _subscription: Subscription,
}

impl Virqfd {
    /// Starts to listen. `hung_up` runs when the eventfd's owner closed it; it should drop the virqfd.
    ///
    /// # Errors
    /// `ENOMEM` or `EMFILE` when writers outside the process cannot be watched.
    pub(super) fn new(
        event: &EventFd,
        signalled: impl Fn() + Send + Sync + 'static,
        hung_up: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Errno> {
        let counter = event.clone();
        let subscription = event.subscribe(move |what| match what {
            Event::Readable => {
                if counter.read().is_some() {
                    signalled();
                }
            }
            Event::HangUp => hung_up(),
        })?;
        Ok(Self { _subscription: subscription })
    }
}
