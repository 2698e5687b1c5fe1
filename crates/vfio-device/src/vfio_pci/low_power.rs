//! Sleep that the user asks for: the device sleeps while nobody uses it, and wakes with the next request.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vfio_uapi::Errno;

use super::session::Session;
use crate::EventFd;

/// Holds the sleep that the user asked for.
#[derive(Debug, Default)]
pub(super) struct LowPower {
    /// The user asked for sleep and has not taken it back.
    wanted: bool,
    /// Signalled when the device wakes by itself, which ends the sleep.
    wake: Option<EventFd>,
    /// The device sleeps: it was wanted, and nobody was using the device any more.
    suspended: bool,
    /// The interrupt line was masked by going to sleep.
    line_masked: bool,
    /// Requests under way.
    users: u32,
}

/// Keeps a device awake while a request is under way.
pub(super) struct Awake(Arc<Session>);

impl Deref for Awake {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        let suspend = {
            let mut power = self.0.low_power.lock();
            power.users -= 1;
            let suspend = power.users == 0 && power.wanted && !power.suspended;
            power.suspended |= suspend;
            suspend
        };
        if suspend && self.0.mask_line() {
            self.0.low_power.lock().line_masked = true;
        }
    }
}

impl Session {
    /// Wakes the device for a request.
    pub(super) fn awake(self: Arc<Self>) -> Awake {
        let (wake, unmask) = {
            let mut power = self.low_power.lock();
            power.users += 1;
            if std::mem::take(&mut power.suspended) {
                let wake = power.wake.take();
                if wake.is_some() {
                    power.wanted = false;
                    self.asleep.store(false, Ordering::Release);
                }
                (wake, std::mem::take(&mut power.line_masked))
            } else {
                (None, false)
            }
        };
        if let Some(wake) = wake {
            wake.signal(1);
        }
        if unmask {
            self.unmask_line();
        }
        Awake(self)
    }

    /// Lets the device sleep when the request that asks for it is over; `wake` is signalled when it wakes by itself.
    ///
    /// # Errors
    /// `EINVAL` sleep was asked for already.
    pub(super) fn enter_low_power(&self, wake: Option<EventFd>) -> Result<(), Errno> {
        let mut power = self.low_power.lock();
        if power.wanted {
            return Err(Errno::EINVAL);
        }
        power.wanted = true;
        power.wake = wake;
        self.asleep.store(true, Ordering::Release);
        Ok(())
    }

    /// Keeps the device awake from now on.
    pub(super) fn end_low_power(&self) {
        let wake = {
            let mut power = self.low_power.lock();
            power.wanted = false;
            self.asleep.store(false, Ordering::Release);
            power.wake.take()
        };
        drop(wake);
    }
}
