//! What software reaches: the way of a mediated device into an address space (`struct iommufd_access`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use vfio_memory::{HostSpan, PAGE_SIZE};
use vfio_uapi::Errno;

use super::Ioas;
use crate::type1::DmaUnmapListener;
use crate::{Iova, IovaRange};

/// Reads, writes and pins memory of the space that it is attached to; a clone is another handle to it.
#[derive(Clone)]
pub struct IoasAccess(pub(super) Arc<AccessPoint>);

/// An access, as spaces know it.
pub(super) struct AccessPoint {
    may_pin: bool,
    /// Areas whose pages it has pinned cannot be unmapped: nobody asks it to let go.
    pub(super) locks: bool,
    listener: Option<Arc<dyn DmaUnmapListener>>,
    pub(super) attached: RwLock<Attached>,
    /// How often each page is pinned, by its first IOVA. Changed under the space's lock.
    pub(super) pins: Mutex<BTreeMap<Iova, u64>>,
}

/// Where an access is attached. While it moves, only unpinning works.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) ioas: Option<Ioas>,
    pub(super) unpin: Option<Ioas>,
}

impl AccessPoint {
    /// Returns what mappings must be a multiple of: pins are whole pages.
    pub(super) fn alignment(&self) -> u64 {
        if self.may_pin { PAGE_SIZE } else { 1 }
    }

    /// Asks to unpin a range. No lock may be held.
    pub(super) fn notify(&self, range: IovaRange) {
        if let Some(listener) = &self.listener {
            listener.dma_unmap(range);
        }
    }
}

impl IoasAccess {
    /// Makes an access that is attached to nothing; one that may pin hears of unmaps.
    #[must_use]
    pub fn new(may_pin: bool, listener: Option<Arc<dyn DmaUnmapListener>>) -> Self {
        Self::made(may_pin, false, listener)
    }

    /// Makes an access whose pins hold the areas that they lie in.
    #[must_use]
    pub(super) fn locked() -> Self {
        Self::made(true, true, None)
    }

    fn made(may_pin: bool, locks: bool, listener: Option<Arc<dyn DmaUnmapListener>>) -> Self {
        let (attached, pins) = (RwLock::default(), Mutex::default());
        Self(Arc::new(AccessPoint { may_pin, locks, listener, attached, pins }))
    }

    /// Tells whether it may pin.
    #[must_use]
    pub fn may_pin(&self) -> bool {
        self.0.may_pin
    }

    /// Attaches to a space, or to none; what was pinned in the old one is unpinned, by its owner first.
    ///
    /// # Errors
    /// `EBUSY` it is being moved; `EADDRINUSE` it may pin, and an area of the space is not made of whole pages. It
    /// stays where it was then.
    pub fn attach(&self, new: Option<&Ioas>) -> Result<(), Errno> {
        let current = {
            let mut attached = self.0.attached.write();
            let moving = attached.unpin.is_some() && attached.ioas.is_none();
            if moving {
                return Err(Errno::EBUSY);
            }
            let same = match (&attached.ioas, new) {
                (Some(current), Some(new)) => current.same(new),
                (None, None) => true,
                _ => false,
            };
            if same {
                return Ok(());
            }
            attached.ioas.take()
        };
        if let Some(new) = new {
            let added = new.0.state.write().add_access(&self.0);
            if let Err(errno) = added {
                self.0.attached.write().ioas = current;
                return Err(errno);
            }
        }
        if let Some(current) = current {
            self.0.notify(IovaRange::ALL); // with no lock held: it unpins from here
            self.unpin_all();
            current.0.state.write().remove_access(&self.0);
        }
        let mut attached = self.0.attached.write();
        attached.ioas = new.cloned();
        attached.unpin = new.cloned();
        Ok(())
    }

    /// Copies bytes from the space.
    ///
    /// # Errors
    /// `EINVAL` no bytes; `EOVERFLOW` the range wraps; `ENOENT` attached to nothing; then upwards: `ENOENT` a hole,
    /// `EINVAL` an area is being unmapped, `EPERM` not readable, `EFAULT` or `EINVAL` memory that is not there. What
    /// lies below has been copied.
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        self.visit(iova, into.len() as u64, false, |span| {
            let piece = &mut into[done..done + span.len as usize];
            done += piece.len();
            span.memory.read(span.offset, piece)
        })
    }

    /// Copies bytes to the space.
    ///
    /// # Errors
    /// As for [`read`](Self::read), `EPERM` not writable.
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        self.visit(iova, from.len() as u64, true, |span| {
            let piece = &from[done..done + span.len as usize];
            done += piece.len();
            span.memory.write(span.offset, piece)
        })
    }

    /// Hands out the memory of a range piece by piece.
    ///
    /// # Errors
    /// As for [`read`](Self::read); and what `visit` says.
    pub(super) fn visit(
        &self,
        iova: Iova,
        len: u64,
        write: bool,
        mut visit: impl FnMut(&HostSpan) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(iova, len).ok_or(Errno::EOVERFLOW)?;
        let attached = self.0.attached.read();
        let ioas = attached.ioas.as_ref().ok_or(Errno::ENOENT)?;
        let state = ioas.0.state.read();
        state.areas.walk(range, |area, part| {
            if area.closing {
                return Err(Errno::EINVAL);
            }
            let needed = if write { vfio_memory::Prot::WRITE } else { vfio_memory::Prot::READ };
            if !area.prot.contains(needed) {
                return Err(Errno::EPERM);
            }
            let spans = area.pages.reach(area.byte_at(part.start()), part.size(), write)?;
            spans.iter().try_for_each(&mut visit)
        })
    }
}

impl fmt::Debug for IoasAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoasAccess").field("may_pin", &self.0.may_pin).finish_non_exhaustive()
    }
}
