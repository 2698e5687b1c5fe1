//! MSI and MSI-X: an eventfd for each vector, set up in blocks.

use std::collections::BTreeMap;

use vfio_uapi::Errno;

use super::irqs::{Delivery, Messages};
use super::session::Session;
use crate::EventFd;
use crate::ops::{IrqData, IrqFd, IrqSet};

impl Session {
    /// Carries `VFIO_IRQ_SET_ACTION_TRIGGER` out for messages.
    ///
    /// # Errors
    /// `EINVAL` the line or the other kind of messages delivers; `ERANGE` enabled with no vector; what a vector's setup
    /// fails with, in which case every vector of the block is unset; `EINVAL` a trigger by hand while not enabled.
    pub(super) fn set_message_trigger(&self, request: &IrqSet, msix: bool) -> Result<(), Errno> {
        let (start, count) = (request.header.start, request.header.count);
        let (enabled, free) = {
            let mut irqs = self.irqs.lock();
            let enabled = irqs.messages(msix).is_some();
            (enabled, enabled || irqs.is_none())
        };
        if enabled && count == 0 && matches!(request.data, IrqData::None) {
            self.disable_messages(msix);
            return Ok(());
        }
        if !free {
            return Err(Errno::EINVAL);
        }
        match &request.data {
            IrqData::EventFds(fds) if enabled => self.set_block(start, fds, msix),
            IrqData::EventFds(fds) => {
                self.enable_messages(start + count, msix)?;
                self.set_block(start, fds, msix).inspect_err(|_| self.disable_messages(msix))
            }
            _ if !enabled => Err(Errno::EINVAL),
            IrqData::Bool(bools) => {
                let wanted = (start..).zip(bools).filter(|(_, wanted)| **wanted != 0);
                wanted.for_each(|(vector, _)| self.signal_message(vector));
                Ok(())
            }
            IrqData::None => {
                (start..start + count).for_each(|vector| self.signal_message(vector));
                Ok(())
            }
        }
    }

    /// Enables messages at the function, without eventfds yet.
    fn enable_messages(&self, vectors: u32, msix: bool) -> Result<(), Errno> {
        if vectors == 0 {
            return Err(Errno::ERANGE);
        }
        let aftermath = {
            let mut irqs = self.irqs.lock();
            if !irqs.is_none() {
                return Err(Errno::EINVAL);
            }
            irqs.delivery =
                Delivery::Messages(Messages { msix, enabled: vectors, triggers: BTreeMap::new() });
            if msix {
                self.function.enable_msix()
            } else {
                irqs.msi_queue = vectors.next_power_of_two().ilog2() as u16;
                self.function.enable_msi(vectors)
            }
        };
        aftermath.run(&self.function);
        Ok(())
    }

    fn set_block(&self, start: u32, fds: &[IrqFd], msix: bool) -> Result<(), Errno> {
        for (vector, fd) in (start..).zip(fds) {
            if let Err(errno) = self.set_vector(vector, fd, msix) {
                for vector in start..=vector {
                    let _ = self.set_vector(vector, &IrqFd::Unset, msix);
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Sets what a vector signals. What it signalled before is given up first, even when the rest fails.
    fn set_vector(&self, vector: u32, fd: &IrqFd, msix: bool) -> Result<(), Errno> {
        let mut result = Ok(());
        let (aftermath, old) = {
            let mut irqs = self.irqs.lock();
            let Some(messages) = irqs.messages(msix) else { return Err(Errno::EINVAL) };
            let old = messages.triggers.remove(&vector);
            let has_interrupt = messages.msix || vector < messages.enabled;
            let trigger = match fd.event() {
                Ok(None) => None,
                // MSI cannot grow once it is enabled; that is noticed before the eventfd is looked at.
                _ if !has_interrupt => {
                    result = Err(Errno::EINVAL);
                    None
                }
                Ok(Some(event)) => Some(event.clone()),
                Err(errno) => {
                    result = Err(errno);
                    None
                }
            };
            let masked = trigger.is_none();
            if let Some(trigger) = trigger {
                messages.triggers.insert(vector, trigger);
            }
            let aftermath = if msix { self.function.mask_msix(vector, masked) } else { Default::default() };
            (aftermath, old)
        };
        aftermath.run(&self.function);
        drop(old);
        result
    }

    /// Disables messages, if it is this kind that delivers.
    pub(super) fn disable_messages(&self, msix: bool) {
        let (aftermath, old) = {
            let mut irqs = self.irqs.lock();
            if irqs.messages(msix).is_none() {
                return;
            }
            let old = std::mem::replace(&mut irqs.delivery, Delivery::None);
            (self.function.disable_messages(), old)
        };
        aftermath.run(&self.function);
        drop(old);
    }

    /// Signals what a vector stands for.
    pub(super) fn signal_message(&self, vector: u32) {
        let trigger: Option<EventFd> = match &self.irqs.lock().delivery {
            Delivery::Messages(messages) => messages.triggers.get(&vector).cloned(),
            _ => None,
        };
        if let Some(trigger) = trigger {
            trigger.signal(1);
        }
    }
}
