//! Interrupt indices: how many interrupts they have, and who carries a request out.

use std::collections::BTreeMap;

use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE, VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_TYPE_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
};
use vfio_uapi::vfio::pci::{
    VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS, VFIO_PCI_REQ_IRQ_INDEX,
};

use super::intx::Line;
use super::session::Session;
use super::trigger::Single;
use crate::EventFd;
use crate::ops::{IrqHeader, IrqInfo, IrqPayload, IrqSet};

/// Holds the interrupts of an open device.
pub(super) struct Irqs {
    /// What the function's own interrupts come by.
    pub(super) delivery: Delivery,
    /// The user holds the line down in the command register.
    pub(super) held_down: bool,
    /// Largest value of the user's MSI queue field: vectors enabled last, as a power of two.
    pub(super) msi_queue: u16,
    /// Signalled when the function reports an uncorrected error.
    pub(super) error: Option<EventFd>,
    /// Signalled when the device is wanted back.
    pub(super) request: Option<EventFd>,
}

/// Says how the function's own interrupts reach the user. One way excludes the others.
pub(super) enum Delivery {
    /// Not at all.
    None,
    /// By its line.
    Line(Line),
    /// By messages.
    Messages(Messages),
}

/// Holds the messages that are set up.
pub(super) struct Messages {
    /// MSI-X, which can grow; otherwise MSI.
    pub(super) msix: bool,
    /// Vectors that MSI was enabled with.
    pub(super) enabled: u32,
    /// Vectors with an eventfd.
    pub(super) triggers: BTreeMap<u32, EventFd>,
}

impl Irqs {
    pub(super) const fn new() -> Self {
        Self { delivery: Delivery::None, held_down: false, msi_queue: 0, error: None, request: None }
    }

    pub(super) const fn line(&mut self) -> Option<&mut Line> {
        if let Delivery::Line(line) = &mut self.delivery { Some(line) } else { None }
    }

    pub(super) fn messages(&mut self, msix: bool) -> Option<&mut Messages> {
        match &mut self.delivery {
            Delivery::Messages(messages) if messages.msix == msix => Some(messages),
            _ => None,
        }
    }

    pub(super) const fn is_none(&self) -> bool {
        matches!(self.delivery, Delivery::None)
    }
}

impl Session {
    /// Returns the interrupts within an index.
    fn irq_count(&self, index: u32) -> u32 {
        match index {
            VFIO_PCI_INTX_IRQ_INDEX => u32::from(self.has_pin()),
            VFIO_PCI_MSI_IRQ_INDEX => self.function.message_vectors().0,
            VFIO_PCI_MSIX_IRQ_INDEX => self.function.message_vectors().1,
            VFIO_PCI_ERR_IRQ_INDEX | VFIO_PCI_REQ_IRQ_INDEX => 1,
            _ => 0,
        }
    }

    /// Describes an interrupt index.
    ///
    /// # Errors
    /// `EINVAL` there is no such index.
    pub(super) fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        let more = match index {
            VFIO_PCI_INTX_IRQ_INDEX => VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
            // Vectors can be added while MSI-X is enabled.
            VFIO_PCI_MSIX_IRQ_INDEX if self.function.msix_table_place().is_some() => 0,
            index if index < VFIO_PCI_NUM_IRQS => VFIO_IRQ_INFO_NORESIZE,
            _ => return Err(Errno::EINVAL),
        };
        Ok(IrqInfo { flags: VFIO_IRQ_INFO_EVENTFD | more, count: self.irq_count(index) })
    }

    /// Checks the header of a request and tells which payload it has.
    ///
    /// # Errors
    /// As [`IrqHeader::prepare`].
    pub(super) fn irq_payload(&self, header: &IrqHeader) -> Result<IrqPayload, Errno> {
        header.prepare(self.irq_count(header.index), VFIO_PCI_NUM_IRQS)
    }

    /// Carries a request out.
    ///
    /// # Errors
    /// `EINVAL` as [`IrqHeader::prepare`], or the payload is not the one announced; `ENOTTY` not exactly one action, or
    /// one that the index does not have; what the action fails with.
    pub(super) fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        let header = &request.header;
        if !request.carries(self.irq_payload(header)?) {
            return Err(Errno::EINVAL);
        }
        match (header.index, header.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
            (VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_MASK) => self.set_line_mask(request),
            (VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK) => self.set_line_unmask(request),
            (VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER) => self.set_line_trigger(request),
            (VFIO_PCI_MSI_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER) => self.set_message_trigger(request, false),
            (VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER) => self.set_message_trigger(request, true),
            (VFIO_PCI_ERR_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER) => self.set_single(request, Single::Error),
            (VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER) => {
                self.set_single(request, Single::Request)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// Ends all interrupts, at the last close.
    pub(super) fn disable_irqs(&self) {
        self.disable_line();
        self.disable_messages(false);
        self.disable_messages(true);
        let ended = {
            let mut irqs = self.irqs.lock();
            irqs.held_down = false;
            (irqs.error.take(), irqs.request.take())
        };
        drop(ended);
    }

    /// Returns whether MSI delivers interrupts, and the largest value of the user's queue field.
    pub(super) fn msi_state(&self) -> (bool, u16) {
        let mut irqs = self.irqs.lock();
        (irqs.messages(false).is_some(), irqs.msi_queue)
    }
}
