//! What a process may do.

// UNSAFETY: the calls write to structures on the stack.
#![expect(unsafe_code, reason = "no library asks for these of another process")]

use crate::Limits;

/// Number of `CAP_IPC_LOCK`.
const IPC_LOCK: u32 = 14;
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Returns the effective capabilities, one bit each; none: there is no such process.
pub(super) fn capabilities(pid: i32) -> Option<u64> {
    let mut header = Header { version: VERSION_3, pid };
    let mut sets = [Sets::default(); 2];
    // SAFETY: version 3 takes a header and two sets.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    (done == 0).then(|| u64::from(sets[0].effective) | u64::from(sets[1].effective) << 32)
}

/// Returns how much it may lock; none: there is no such process.
pub(super) fn limits(pid: i32) -> Option<Limits> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing new is set, and the old limit goes to the stack.
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_MEMLOCK, std::ptr::null(), &raw mut limit) };
    let cap_ipc_lock = capabilities(pid)? >> IPC_LOCK & 1 != 0;
    (done == 0).then_some(Limits { memlock: limit.rlim_cur, cap_ipc_lock })
}
