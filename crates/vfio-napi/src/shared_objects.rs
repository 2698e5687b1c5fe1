//! Objects on their way from one JavaScript thread to another: left under a number, taken once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vfio_iommu::DmaSpace;
use vfio_iommu::type1::Type1;
use vfio_memory::{AddressSpace, Memory};
use vfio_uapi::Errno;

use crate::memory::MemoryKind;

/// An object that means the same on every thread.
enum Shared {
    Memory(Memory, MemoryKind),
    Dma(Arc<dyn DmaSpace>, String),
    Domain(Type1, Arc<AddressSpace>),
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
    match take(token, |object| matches!(object, Shared::Memory(..)))? {
        Shared::Memory(memory, kind) => Ok((memory, kind)),
        _ => Err(Errno::EBADF),
    }
}

/// Leaves a device's view of memory and returns the number to take it by.
pub(crate) fn share_dma(space: Arc<dyn DmaSpace>, name: String) -> u64 {
    leave(Shared::Dma(space, name))
}

/// Takes a device's view of memory and its name.
///
/// # Errors
/// `EBADF` unknown, already taken, or something else.
pub(crate) fn adopt_dma(token: u64) -> Result<(Arc<dyn DmaSpace>, String), Errno> {
    match take(token, |object| matches!(object, Shared::Dma(..)))? {
        Shared::Dma(space, name) => Ok((space, name)),
        _ => Err(Errno::EBADF),
    }
}

/// Leaves an IOMMU and the process that maps with it, and returns the number to take them by.
pub(crate) fn share_domain(type1: Type1, space: Arc<AddressSpace>) -> u64 {
    leave(Shared::Domain(type1, space))
}

/// Takes an IOMMU and a process.
///
/// # Errors
/// `EBADF` unknown, already taken, or something else.
pub(crate) fn adopt_domain(token: u64) -> Result<(Type1, Arc<AddressSpace>), Errno> {
    match take(token, |object| matches!(object, Shared::Domain(..)))? {
        Shared::Domain(type1, space) => Ok((type1, space)),
        _ => Err(Errno::EBADF),
    }
}

fn take(token: u64, wanted: impl Fn(&Shared) -> bool) -> Result<Shared, Errno> {
    let mut waiting = WAITING.lock();
    if !waiting.get(&token).is_some_and(wanted) {
        return Err(Errno::EBADF);
    }
    waiting.remove(&token).ok_or(Errno::EBADF)
}

fn leave(object: Shared) -> u64 {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    WAITING.lock().insert(token, object);
    token
}
