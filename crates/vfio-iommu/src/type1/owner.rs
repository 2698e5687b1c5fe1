//! Whose memory a mapping is, and whose limit it is charged to.

use std::sync::Arc;

use vfio_memory::AddressSpace;
use vfio_uapi::Errno;

/// Names the process that made a mapping.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) mm: Arc<AddressSpace>,
    /// Held `CAP_IPC_LOCK` when it made the mapping: later charges are not refused either.
    bypass: bool,
}

impl Owner {
    pub(super) fn new(mm: &Arc<AddressSpace>) -> Self {
        Self { mm: Arc::clone(mm), bypass: mm.locked().cap_ipc_lock() }
    }

    pub(super) fn is(&self, mm: &Arc<AddressSpace>) -> bool {
        Arc::ptr_eq(&self.mm, mm)
    }

    /// Charges locked memory.
    ///
    /// # Errors
    /// `ENOMEM` over the limit; nothing is charged then.
    pub(super) fn charge(&self, pages: u64) -> Result<(), Errno> {
        if pages == 0 { Ok(()) } else { self.mm.locked().charge_as(pages, self.bypass) }
    }

    pub(super) fn uncharge(&self, pages: u64) {
        if pages > 0 {
            self.mm.locked().uncharge(pages);
        }
    }
}
