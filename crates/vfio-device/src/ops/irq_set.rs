//! Requests to set up, trigger, mask or unmask interrupts, and the checks that all drivers share.

use vfio_uapi::Errno;
use vfio_uapi::vfio::irq::{
    VFIO_IRQ_SET_ACTION_TYPE_MASK, VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE,
    VFIO_IRQ_SET_DATA_TYPE_MASK,
};

use crate::EventFd;

/// Size of `struct vfio_irq_set` without its data.
const HEADER_SIZE: u32 = 20;

/// Holds the header of a `VFIO_DEVICE_SET_IRQS` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IrqHeader {
    /// Size of header and data as the caller gave it.
    pub argsz: u32,
    /// One `VFIO_IRQ_SET_DATA_*` and one `VFIO_IRQ_SET_ACTION_*`.
    pub flags: u32,
    /// Interrupt index.
    pub index: u32,
    /// First interrupt within the index.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// Tells what follows the header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqPayload {
    /// Nothing.
    None,
    /// So many bytes, one per interrupt.
    Bool(u32),
    /// So many descriptors of 4 bytes, one per interrupt.
    EventFds(u32),
}

/// Stands for an entry of an eventfd payload. A lookup that fails is reported when the driver reaches the entry.
#[derive(Debug, Clone)]
pub enum IrqFd {
    /// Descriptor -1.
    Unset,
    /// Another negative descriptor.
    Negative(i32),
    /// A descriptor that leads to an event counter.
    Fd(EventFd),
    /// A descriptor that does not: `EBADF` there is no such descriptor, `EINVAL` it is something else.
    Bad(Errno),
}

impl IrqFd {
    /// Returns the event counter of a descriptor, or none where the number is negative.
    ///
    /// # Errors
    /// Those of the lookup: `EBADF`, `EINVAL`.
    pub fn event(&self) -> Result<Option<&EventFd>, Errno> {
        match self {
            Self::Unset | Self::Negative(_) => Ok(None),
            Self::Fd(event) => Ok(Some(event)),
            Self::Bad(errno) => Err(*errno),
        }
    }
}

/// Holds the payload of a request.
#[derive(Debug, Clone)]
pub enum IrqData {
    /// Nothing.
    None,
    /// One byte per interrupt.
    Bool(Vec<u8>),
    /// One descriptor per interrupt.
    EventFds(Vec<IrqFd>),
}

/// Holds a whole `VFIO_DEVICE_SET_IRQS` request.
#[derive(Debug, Clone)]
pub struct IrqSet {
    /// Its header.
    pub header: IrqHeader,
    /// What follows it.
    pub data: IrqData,
}

impl IrqHeader {
    /// Checks the header against an index of `available` interrupts, of `indices` that the device has, and tells what
    /// follows it.
    ///
    /// # Errors
    /// `EINVAL` in this order: `argsz` short of the header; no such index; `start + count` wraps; unknown flags;
    /// beyond the index; not exactly one kind of data; `argsz` short of the data.
    pub fn prepare(&self, available: u32, indices: u32) -> Result<IrqPayload, Errno> {
        const KNOWN: u32 = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
        if self.argsz < HEADER_SIZE
            || self.index >= indices
            || self.count >= u32::MAX - self.start
            || self.flags & !KNOWN != 0
            || self.start >= available
            || self.start + self.count > available
        {
            return Err(Errno::EINVAL);
        }
        let (payload, each) = match self.flags & VFIO_IRQ_SET_DATA_TYPE_MASK {
            VFIO_IRQ_SET_DATA_NONE => (IrqPayload::None, 0),
            VFIO_IRQ_SET_DATA_BOOL => (IrqPayload::Bool(self.count), 1),
            VFIO_IRQ_SET_DATA_EVENTFD => (IrqPayload::EventFds(self.count), 4),
            _ => return Err(Errno::EINVAL),
        };
        if u64::from(self.argsz - HEADER_SIZE) < u64::from(self.count) * each {
            return Err(Errno::EINVAL);
        }
        Ok(payload)
    }
}

impl IrqSet {
    /// Tells whether the payload is the one that the header announces, entry for entry.
    #[must_use]
    pub fn carries(&self, payload: IrqPayload) -> bool {
        match (&self.data, payload) {
            (IrqData::None, IrqPayload::None) => true,
            (IrqData::Bool(bools), IrqPayload::Bool(count)) => bools.len() as u64 == u64::from(count),
            (IrqData::EventFds(fds), IrqPayload::EventFds(count)) => fds.len() as u64 == u64::from(count),
            _ => false,
        }
    }
}
