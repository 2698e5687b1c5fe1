//! Locked-memory accounting of one process (`RLIMIT_MEMLOCK`, `CAP_IPC_LOCK`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use vfio_uapi::Errno;

use crate::PAGE_SHIFT;

/// Says how much memory a process may lock, and whether the limit binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_MEMLOCK` in bytes; `u64::MAX` means unlimited. Only whole pages of it count.
    pub memlock: u64,
    /// Holds `CAP_IPC_LOCK`: charges are counted, but never refused.
    pub cap_ipc_lock: bool,
}

impl Default for Limits {
    /// The kernel's default for an unprivileged process: 8 MiB, no capability.
    fn default() -> Self {
        Self { memlock: 8 << 20, cap_ipc_lock: false }
    }
}

/// Counts the locked and pinned pages of one process against its limit.
///
/// `locked_vm` is what `mlock` and type1 charge; `pinned_vm` is what iommufd counts beside it, and holds against
/// what all processes of the user have pinned.
#[derive(Debug)]
pub struct LockedMemory {
    limit: AtomicU64,
    cap_ipc_lock: AtomicBool,
    locked: AtomicU64,
    pinned: AtomicU64,
    page_shift: u32,
    user: RwLock<Arc<AtomicU64>>,
}

impl LockedMemory {
    /// Starts with nothing locked.
    pub fn new(limits: Limits) -> Self {
        Self::with_page_shift(limits, PAGE_SHIFT)
    }

    /// Starts with nothing locked, on a system whose pages have `1 << page_shift` bytes.
    pub fn with_page_shift(limits: Limits, page_shift: u32) -> Self {
        Self {
            page_shift,
            limit: AtomicU64::new(limits.memlock),
            cap_ipc_lock: AtomicBool::new(limits.cap_ipc_lock),
            locked: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            user: RwLock::default(),
        }
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> Limits {
        Limits { memlock: self.limit.load(Ordering::Relaxed), cap_ipc_lock: self.cap_ipc_lock() }
    }

    /// Replaces the limits (`setrlimit`, `capset`); what is locked already stays locked.
    pub fn set_limits(&self, limits: Limits) {
        self.limit.store(limits.memlock, Ordering::Relaxed);
        self.cap_ipc_lock.store(limits.cap_ipc_lock, Ordering::Relaxed);
    }

    /// Returns the limit in whole pages.
    pub fn limit_pages(&self) -> u64 {
        self.limit.load(Ordering::Relaxed) >> self.page_shift
    }

    /// Tells whether the process holds `CAP_IPC_LOCK`.
    pub fn cap_ipc_lock(&self) -> bool {
        self.cap_ipc_lock.load(Ordering::Relaxed)
    }

    /// Returns `locked_vm` in pages.
    pub fn locked_pages(&self) -> u64 {
        self.locked.load(Ordering::Relaxed)
    }

    /// Returns `pinned_vm` in pages.
    pub fn pinned_pages(&self) -> u64 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Adds `pages` to `locked_vm`.
    ///
    /// # Errors
    /// `ENOMEM` over the limit without `CAP_IPC_LOCK`; nothing is charged then.
    pub fn charge(&self, pages: u64) -> Result<(), Errno> {
        self.charge_as(pages, self.cap_ipc_lock())
    }

    /// Adds `pages` to `locked_vm` for a caller whose capability was looked at earlier.
    ///
    /// # Errors
    /// `ENOMEM` over the limit unless `bypass`; nothing is charged then.
    pub fn charge_as(&self, pages: u64, bypass: bool) -> Result<(), Errno> {
        let limit = if bypass { u64::MAX } else { self.limit_pages() };
        let add = |locked: u64| locked.checked_add(pages).filter(|sum| *sum <= limit);
        match self.locked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// Tells whether `charge(pages)` would succeed now, without charging.
    pub fn has_room(&self, pages: u64) -> bool {
        let limit = if self.cap_ipc_lock() { u64::MAX } else { self.limit_pages() };
        self.locked_pages().checked_add(pages).is_some_and(|sum| sum <= limit)
    }

    /// Takes `pages` from `locked_vm`, stopping at zero.
    pub fn uncharge(&self, pages: u64) {
        subtract(&self.locked, pages);
    }

    /// Makes this process one of the same user as `other`: from now on they share an account.
    pub fn join_user(&self, other: &Self) {
        let shared = Arc::clone(&other.user.read());
        *self.user.write() = shared;
    }

    /// Adds `pages` to what the user has pinned.
    ///
    /// # Errors
    /// `ENOMEM` over the limit of this process; nothing is charged then.
    pub fn charge_user(&self, pages: u64) -> Result<(), Errno> {
        let limit = self.limit_pages();
        let add = |pinned: u64| pinned.checked_add(pages).filter(|sum| *sum <= limit);
        match self.user.read().fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// Takes `pages` from what the user has pinned, stopping at zero.
    pub fn uncharge_user(&self, pages: u64) {
        subtract(&self.user.read(), pages);
    }

    /// Adds `pages` to `pinned_vm`, which has no limit of its own.
    pub fn add_pinned(&self, pages: u64) {
        let add = |pinned: u64| Some(pinned.saturating_add(pages));
        let _ = self.pinned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes `pages` from `pinned_vm`, stopping at zero.
    pub fn sub_pinned(&self, pages: u64) {
        subtract(&self.pinned, pages);
    }
}

fn subtract(counter: &AtomicU64, pages: u64) {
    let sub = |count: u64| Some(count.saturating_sub(pages));
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sub);
}
