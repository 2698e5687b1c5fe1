//! The fence between readers and writers, cheap on the readers' side.

// UNSAFETY: `membarrier(2)` has no safe wrapper.
#![cfg_attr(all(target_os = "linux", not(miri)), expect(unsafe_code, reason = "calls membarrier"))]

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

/// True once the kernel promised to fence our threads on request.
static ASYMMETRIC: AtomicBool = AtomicBool::new(false);
static PREPARED: Once = Once::new();

/// Asks for the asymmetric fence; every thread calls this before it reads for the first time, so the answer
/// is settled before anybody has read.
pub(super) fn prepare() {
    PREPARED.call_once(|| ASYMMETRIC.store(system::register(), Ordering::SeqCst));
}

/// Orders the reader's step in before its first look at the table.
#[inline]
pub(super) fn light() {
    if ASYMMETRIC.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Orders the writer's unlinking before its look at the slots, on every thread of the process.
pub(super) fn heavy() {
    fence(Ordering::SeqCst);
    if ASYMMETRIC.load(Ordering::SeqCst) && !system::fence_all_threads() {
        // Someone forbade the call after we registered. Readers fence themselves from now on; those that came
        // in before have their store out of the processor long before a sleep of this length is over.
        ASYMMETRIC.store(false, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    const QUERY: libc::c_int = 0;
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn membarrier(command: libc::c_int) -> libc::c_long {
        // SAFETY: the call takes two integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0) }
    }

    pub(super) fn register() -> bool {
        let supported = membarrier(QUERY);
        let wanted = libc::c_long::from(PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED);
        supported > 0 && supported & wanted == wanted && membarrier(REGISTER_PRIVATE_EXPEDITED) == 0
    }

    pub(super) fn fence_all_threads() -> bool {
        membarrier(PRIVATE_EXPEDITED) == 0
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn fence_all_threads() -> bool {
        true
    }
}
