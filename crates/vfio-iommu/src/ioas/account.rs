//! Who is charged for pinned pages, and against which limit.

use std::sync::Arc;

use vfio_memory::AddressSpace;
use vfio_uapi::Errno;

/// Says which limit binds (`IOMMU_OPTION_RLIMIT_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accounting {
    /// None: the process held `CAP_IPC_LOCK` when it mapped.
    Unlimited,
    /// What all processes of the user have pinned.
    User,
    /// What the process has locked, as for type1.
    Process,
}

/// Charges a process for pages; pinned pages are counted (`VmPin`) whatever the limit.
#[derive(Clone)]
pub struct Payer {
    mm: Arc<AddressSpace>,
    accounting: Accounting,
}

impl Payer {
    /// Charges `mm`, against the limit that `wanted` names unless the process may lock without limit.
    #[must_use]
    pub fn new(mm: &Arc<AddressSpace>, wanted: Accounting) -> Self {
        let accounting = if mm.locked().cap_ipc_lock() { Accounting::Unlimited } else { wanted };
        Self { mm: Arc::clone(mm), accounting }
    }

    /// Returns the process.
    pub(super) fn mm(&self) -> &Arc<AddressSpace> {
        &self.mm
    }

    /// Charges pages.
    ///
    /// # Errors
    /// `ENOMEM` over the limit; nothing is charged then.
    pub(super) fn charge(&self, pages: u64) -> Result<(), Errno> {
        if pages == 0 {
            return Ok(());
        }
        let locked = self.mm.locked();
        match self.accounting {
            Accounting::Unlimited => {}
            Accounting::User => locked.charge_user(pages)?,
            Accounting::Process => locked.charge_as(pages, false)?,
        }
        locked.add_pinned(pages);
        Ok(())
    }

    /// Gives pages back.
    pub(super) fn uncharge(&self, pages: u64) {
        if pages == 0 {
            return;
        }
        let locked = self.mm.locked();
        match self.accounting {
            Accounting::Unlimited => {}
            Accounting::User => locked.uncharge_user(pages),
            Accounting::Process => locked.uncharge(pages),
        }
        locked.sub_pinned(pages);
    }
}
