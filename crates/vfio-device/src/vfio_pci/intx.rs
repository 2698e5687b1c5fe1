//! The interrupt line: level triggered, so it is held down from the interrupt until the user unmasks it.

use vfio_uapi::Errno;

use super::irqs::{Delivery, Irqs};
use super::session::Session;
use super::virqfd::Virqfd;
use crate::EventFd;
use crate::ops::{IrqData, IrqSet};
use crate::pci::{Aftermath, InterruptSink};

/// Holds the line while its interrupts are delivered.
pub(super) struct Line {
    trigger: Option<EventFd>,
    /// Nothing is delivered until the user unmasks.
    masked: bool,
    /// Unmasks when it is signalled.
    unmask: Option<Virqfd>,
}

impl Irqs {
    /// Returns what a line interrupt signals, unless the user holds the line down.
    fn line_trigger(&mut self) -> Option<EventFd> {
        if self.held_down { None } else { self.line()?.trigger.clone() }
    }
}

impl Session {
    /// Masks the line for the user; tells whether that changed anything.
    pub(super) fn mask_line(&self) -> bool {
        let (aftermath, changed) = {
            let mut irqs = self.irqs.lock();
            match irqs.line() {
                // Not delivering: the hardware's bit follows the user's all the same.
                None if self.holds_line => (self.function.hold_line(true), false),
                Some(line) if !line.masked => {
                    line.masked = true;
                    (self.quieten(true), true)
                }
                _ => return false,
            }
        };
        aftermath.run(&self.function);
        changed
    }

    /// Keeps the line from interrupting, at the function or at the interrupt controller.
    fn quieten(&self, quiet: bool) -> Aftermath {
        if self.holds_line { self.function.hold_line(quiet) } else { self.function.mask_line(quiet) }
    }

    /// Unmasks the line for the user. A function that still wants attention signals at once and stays masked.
    pub(super) fn unmask_line(&self) {
        let (aftermath, trigger) = {
            let mut irqs = self.irqs.lock();
            let held_down = irqs.held_down;
            match irqs.line() {
                None if self.holds_line => (self.function.hold_line(false), None),
                Some(line) if line.masked && !held_down => {
                    if !self.holds_line {
                        line.masked = false;
                        (self.function.mask_line(false), None)
                    } else if self.function.check_and_release_line() {
                        line.masked = false;
                        (Aftermath::default(), None)
                    } else {
                        (Aftermath::default(), irqs.line_trigger())
                    }
                }
                _ => return,
            }
        };
        aftermath.run(&self.function);
        if let Some(trigger) = trigger {
            trigger.signal(1);
        }
    }

    /// Follows the user's bit in the command register that holds the line down.
    pub(super) fn follow_line_bit(&self, held_down: bool) {
        {
            let mut irqs = self.irqs.lock();
            if irqs.held_down == held_down {
                return;
            }
            irqs.held_down = held_down;
        }
        if held_down {
            self.mask_line();
        } else {
            self.unmask_line();
        }
    }

    /// Carries `VFIO_IRQ_SET_ACTION_MASK` out.
    ///
    /// # Errors
    /// `EINVAL` the line does not deliver, or another range than its one interrupt; `ENOTTY` by eventfd.
    pub(super) fn set_line_mask(&self, request: &IrqSet) -> Result<(), Errno> {
        self.check_line(request)?;
        match &request.data {
            IrqData::EventFds(_) => return Err(Errno::ENOTTY),
            IrqData::Bool(bools) if bools[0] == 0 => {}
            _ => drop(self.mask_line()),
        }
        Ok(())
    }

    /// Carries `VFIO_IRQ_SET_ACTION_UNMASK` out.
    ///
    /// # Errors
    /// `EINVAL` as for masking; with an eventfd `EBADF` or `EINVAL` from its lookup, `EBUSY` there is one already.
    pub(super) fn set_line_unmask(&self, request: &IrqSet) -> Result<(), Errno> {
        self.check_line(request)?;
        match &request.data {
            IrqData::None => self.unmask_line(),
            IrqData::Bool(bools) if bools[0] == 0 => {}
            IrqData::Bool(_) => self.unmask_line(),
            IrqData::EventFds(fds) => return self.set_unmask_event(fds[0].event()?),
        }
        Ok(())
    }

    fn set_unmask_event(&self, event: Option<&EventFd>) -> Result<(), Errno> {
        let Some(event) = event else {
            let old = self.irqs.lock().line().and_then(|line| line.unmask.take());
            drop(old);
            return Ok(());
        };
        let (signalled, hung_up) = (self.this.clone(), self.this.clone());
        let virqfd = Virqfd::new(
            event,
            move || {
                if let Some(session) = signalled.upgrade() {
                    session.unmask_line();
                }
            },
            move || {
                let session = hung_up.upgrade();
                drop(
                    session
                        .and_then(|session| session.irqs.lock().line().and_then(|line| line.unmask.take())),
                );
            },
        )?;
        let refused = {
            let mut irqs = self.irqs.lock();
            match irqs.line() {
                Some(line) if line.unmask.is_none() => {
                    line.unmask = Some(virqfd);
                    None
                }
                Some(_) => Some((virqfd, Errno::EBUSY)),
                None => Some((virqfd, Errno::EINVAL)),
            }
        };
        if let Some((virqfd, errno)) = refused {
            drop(virqfd);
            return Err(errno);
        }
        if event.is_readable() {
            self.unmask_line();
        }
        Ok(())
    }

    fn check_line(&self, request: &IrqSet) -> Result<(), Errno> {
        let delivers = self.irqs.lock().line().is_some();
        if !delivers || request.header.start != 0 || request.header.count != 1 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Carries `VFIO_IRQ_SET_ACTION_TRIGGER` out for the line.
    ///
    /// # Errors
    /// `EINVAL` messages deliver instead, or another range than its one interrupt; `EBADF` or `EINVAL` from the lookup of
    /// the eventfd; `EINVAL` a trigger by hand while the line does not deliver.
    pub(super) fn set_line_trigger(&self, request: &IrqSet) -> Result<(), Errno> {
        let delivers = self.irqs.lock().line().is_some();
        if delivers && request.header.count == 0 && matches!(request.data, IrqData::None) {
            self.disable_line();
            return Ok(());
        }
        let free = delivers || self.irqs.lock().is_none();
        if !free || request.header.start != 0 || request.header.count != 1 {
            return Err(Errno::EINVAL);
        }
        match &request.data {
            IrqData::EventFds(fds) => self.enable_line(fds[0].event()?.cloned()),
            _ if !delivers => Err(Errno::EINVAL),
            IrqData::Bool(bools) if bools[0] == 0 => Ok(()),
            _ => {
                self.signal_line();
                Ok(())
            }
        }
    }

    /// Sets what the line signals, and starts to deliver its interrupts.
    fn enable_line(&self, trigger: Option<EventFd>) -> Result<(), Errno> {
        let (aftermath, old) = {
            let mut irqs = self.irqs.lock();
            let masked = irqs.held_down;
            match &mut irqs.delivery {
                Delivery::Line(line) => (Aftermath::default(), std::mem::replace(&mut line.trigger, trigger)),
                Delivery::None => {
                    irqs.delivery = Delivery::Line(Line { trigger, masked, unmask: None });
                    let mut aftermath = self.quieten(masked);
                    aftermath.join(self.function.request_line(true));
                    (aftermath, None)
                }
                Delivery::Messages(_) => return Err(Errno::EINVAL),
            }
        };
        aftermath.run(&self.function);
        drop(old);
        Ok(())
    }

    /// Ends the delivery of the line's interrupts.
    pub(super) fn disable_line(&self) {
        let (aftermath, old) = {
            let mut irqs = self.irqs.lock();
            if irqs.line().is_none() {
                return;
            }
            let old = std::mem::replace(&mut irqs.delivery, Delivery::None);
            let mut aftermath = self.function.request_line(false);
            if !self.holds_line {
                aftermath.join(self.function.mask_line(false));
            }
            (aftermath, old)
        };
        aftermath.run(&self.function);
        drop(old);
    }

    fn signal_line(&self) {
        let trigger = self.irqs.lock().line_trigger();
        if let Some(trigger) = trigger {
            trigger.signal(1);
        }
    }
}

impl InterruptSink for Session {
    fn line_asserted(&self) {
        let (aftermath, trigger) = {
            let mut irqs = self.irqs.lock();
            let Some(line) = irqs.line().filter(|line| !line.masked) else { return };
            let aftermath = if !self.holds_line {
                self.function.mask_line(true)
            } else if self.function.check_and_hold_line() {
                Aftermath::default()
            } else {
                return;
            };
            line.masked = true;
            (aftermath, irqs.line_trigger())
        };
        aftermath.run(&self.function);
        if let Some(trigger) = trigger {
            trigger.signal(1);
        }
    }

    fn message(&self, vector: u32) {
        self.signal_message(vector);
    }
}
