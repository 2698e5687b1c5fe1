//! Eventfds that write to a register when they are signalled.

use vfio_uapi::Errno;
use vfio_uapi::vfio::device::VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
use vfio_uapi::vfio::pci::VFIO_PCI_BAR5_REGION_INDEX;

use super::session::Session;
use super::virqfd::Virqfd;
use super::{OFFSET_MASK, OFFSET_SHIFT};
use crate::ops::{IoEventFd, IrqFd};

/// Registrations that a device has room for.
const MOST: usize = 1000;

/// Holds the registrations of a device.
pub(super) type IoEvents = Vec<(Doorbell, Option<Virqfd>)>;

/// Names the write that a registration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doorbell {
    bar: u8,
    offset: u64,
    width: usize,
    data: u64,
}

impl Session {
    /// Registers an eventfd, or takes it away.
    ///
    /// # Errors
    /// `EINVAL` not exactly one width, a negative descriptor other than -1, no BAR, beyond it, or the MSI-X table;
    /// `EEXIST` the same write is registered; `ENODEV` it is not, and there is nothing to take away; `ENOSPC`; `EBADF` or
    /// `EINVAL` from the lookup of the eventfd.
    pub(super) fn ioeventfd(&self, request: &IoEventFd) -> Result<(), Errno> {
        let width = request.flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
        let one_width = request.flags == width && width.is_power_of_two();
        if !one_width || matches!(request.fd, IrqFd::Negative(_)) {
            return Err(Errno::EINVAL);
        }
        let bell = self.doorbell(request.offset, width as usize, request.data)?;
        let event = {
            let mut events = self.ioevents.lock();
            if let Some(at) = events.iter().position(|(known, _)| *known == bell) {
                if !matches!(request.fd, IrqFd::Unset) {
                    return Err(Errno::EEXIST);
                }
                let removed = events.remove(at);
                drop(events);
                drop(removed);
                return Ok(());
            }
            if matches!(request.fd, IrqFd::Unset) {
                return Err(Errno::ENODEV);
            }
            if events.len() >= MOST {
                return Err(Errno::ENOSPC);
            }
            let event = request.fd.event()?.ok_or(Errno::EINVAL)?.clone();
            // Its place is taken now; the eventfd is listened to once the list is unlocked.
            events.push((bell, None));
            event
        };
        let (signalled, hung_up) = (self.this.clone(), self.this.clone());
        let virqfd = Virqfd::new(
            &event,
            move || {
                if let Some(session) = signalled.upgrade() {
                    session.ring(bell);
                }
            },
            move || {
                if let Some(session) = hung_up.upgrade() {
                    let virqfd = session.set_ioevent(bell, None);
                    drop(virqfd);
                }
            },
        );
        match virqfd {
            Ok(virqfd) => {
                let old = self.set_ioevent(bell, Some(virqfd));
                drop(old);
            }
            Err(errno) => {
                self.ioevents.lock().retain(|(known, _)| *known != bell);
                return Err(errno);
            }
        }
        if event.is_readable() {
            self.ring(bell);
        }
        Ok(())
    }

    fn set_ioevent(&self, bell: Doorbell, virqfd: Option<Virqfd>) -> Option<Virqfd> {
        let mut events = self.ioevents.lock();
        match events.iter_mut().find(|(known, _)| *known == bell) {
            Some((_, slot)) => std::mem::replace(slot, virqfd),
            // Taken away in the meantime.
            None => virqfd,
        }
    }

    fn doorbell(&self, offset: u64, width: usize, data: u64) -> Result<Doorbell, Errno> {
        let (region, offset) = (offset >> OFFSET_SHIFT, offset & OFFSET_MASK);
        if region > u64::from(VFIO_PCI_BAR5_REGION_INDEX) {
            return Err(Errno::EINVAL);
        }
        let bar = region as u8;
        let len = self.bar(region as usize).map_or(0, |bar| bar.len);
        let end = offset + width as u64;
        let in_table =
            self.msix_table.is_some_and(|table| table.bar == bar && end > table.start && offset < table.end);
        if end > len || in_table {
            return Err(Errno::EINVAL);
        }
        Ok(Doorbell { bar, offset, width, data })
    }

    fn ring(&self, bell: Doorbell) {
        if self.check_decoding(bell.bar).is_ok() {
            let bytes = &bell.data.to_le_bytes()[..bell.width];
            // Nobody waits for the answer, as nobody waits for a posted write.
            let _ = self.function.bar_write(bell.bar, bell.offset, bytes);
        }
    }
}
