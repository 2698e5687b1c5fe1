//! Objects on their way from one JavaScript thread to another: left under a number, taken once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vfio_memory::Memory;
use vfio_uapi::Errno;

/// An object that means the same on every thread.
enum Shared {
    Memory(Memory),
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static WAITING: Mutex<BTreeMap<u64, Shared>> = Mutex::new(BTreeMap::new());

/// Leaves memory and returns the number to take it by.
pub(crate) fn share_memory(memory: Memory) -> u64 {
    leave(Shared::Memory(memory))
}

/// Takes memory.
///
/// # Errors
/// `EBADF` unknown, already taken, or something else.
pub(crate) fn adopt_memory(token: u64) -> Result<Memory, Errno> {
    let mut waiting = WAITING.lock();
    match waiting.get(&token) {
        Some(Shared::Memory(memory)) => {
            let memory = memory.clone();
            waiting.remove(&token);
            Ok(memory)
        }
        None => Err(Errno::EBADF),
    }
}

fn leave(object: Shared) -> u64 {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    WAITING.lock().insert(token, object);
    token
}
