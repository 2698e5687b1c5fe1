//! Objects on their way from one JavaScript thread to another: left under a number, taken once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::memory::MemoryKind;

/// An object that means the same on every thread.
enum Shared {
    Memory(Memory, MemoryKind),
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static WAITING: Mutex<BTreeMap<u64, Shared>> = Mutex::new(BTreeMap::new());

/// Leaves memory and returns the number to take it by.
pub(crate) fn share_memory(memory: Memory, kind: MemoryKind) -> u64 {
    leave(Shared::Memory(memory, kind))
}

/// Takes memory.
///
/// # Errors
/// `EBADF` unknown, already taken, or something else.
pub(crate) fn adopt_memory(token: u64) -> Result<(Memory, MemoryKind), Errno> {
    let mut waiting = WAITING.lock();
    match waiting.get(&token) {
        Some(Shared::Memory(memory, kind)) => {
            let taken = (memory.clone(), *kind);
            waiting.remove(&token);
            Ok(taken)
        }
        None => Err(Errno::EBADF),
    }
}

fn leave(object: Shared) -> u64 {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    WAITING.lock().insert(token, object);
    token
}
