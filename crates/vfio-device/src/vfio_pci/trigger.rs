//! The two interrupts that come from the driver itself: errors, and requests to give the device back.

use vfio_uapi::Errno;

use super::session::Session;
use crate::EventFd;
use crate::ops::{IrqData, IrqFd, IrqSet};

/// Names an interrupt of the driver.
#[derive(Debug, Clone, Copy)]
pub(super) enum Single {
    /// An uncorrected error.
    Error,
    /// The device is wanted back.
    Request,
}

impl Session {
    /// Runs `change` on an interrupt of the driver.
    fn with_single<T>(&self, which: Single, change: impl FnOnce(&mut Option<EventFd>) -> T) -> T {
        let mut irqs = self.irqs.lock();
        change(match which {
            Single::Error => &mut irqs.error,
            Single::Request => &mut irqs.request,
        })
    }

    /// Carries `VFIO_IRQ_SET_ACTION_TRIGGER` out for an interrupt of the driver.
    ///
    /// # Errors
    /// `EINVAL` a trigger by hand or an end where there is no eventfd, a count of 0 with data, or a negative descriptor
    /// other than -1; `EBADF` or `EINVAL` from the lookup of the eventfd, the old one staying in place.
    pub(super) fn set_single(&self, request: &IrqSet, which: Single) -> Result<(), Errno> {
        if request.header.start != 0 || request.header.count > 1 {
            return Err(Errno::EINVAL);
        }
        match &request.data {
            IrqData::None if request.header.count == 0 => {
                let old = self.with_single(which, Option::take);
                old.map(drop).ok_or(Errno::EINVAL)
            }
            IrqData::None => {
                let trigger = self.with_single(which, |trigger| trigger.clone());
                trigger.map(|trigger| trigger.signal(1)).ok_or(Errno::EINVAL)
            }
            IrqData::Bool(bools) => {
                let wanted = *bools.first().ok_or(Errno::EINVAL)? != 0;
                let trigger = self.with_single(which, |trigger| trigger.clone());
                if let Some(trigger) = trigger.filter(|_| wanted) {
                    trigger.signal(1);
                }
                Ok(())
            }
            IrqData::EventFds(fds) => {
                let new = match fds.first().ok_or(Errno::EINVAL)? {
                    IrqFd::Negative(_) => return Err(Errno::EINVAL),
                    fd => fd.event()?.cloned(),
                };
                let old = self.with_single(which, |trigger| std::mem::replace(trigger, new));
                drop(old);
                Ok(())
            }
        }
    }

    /// Tells the user of an uncorrected error.
    pub(super) fn signal_error(&self) {
        self.signal_single(Single::Error);
    }

    /// Asks the user for the device, for the `count`th time: each time as urgently as the first.
    pub(super) fn signal_request(&self, _count: u32) {
        self.signal_single(Single::Request);
    }

    fn signal_single(&self, which: Single) {
        let trigger = self.with_single(which, |trigger| trigger.clone());
        if let Some(trigger) = trigger {
            trigger.signal(1);
        }
    }
}
