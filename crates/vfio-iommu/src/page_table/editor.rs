//! A series of changes to a table under its lock.

// UNSAFETY: frees garbage after the epoch.
#![expect(unsafe_code, reason = "frees unlinked nodes")]

use std::sync::atomic::AtomicU64;

use parking_lot::MutexGuard;
use vfio_memory::{HostSpan, Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::IoPageTable;
use super::edit::State;
use super::entry::Entry;
use super::garbage::Garbage;
use super::node::{Detachable, Node, Piece};
use crate::{Iova, IovaRange, epoch};

/// Unlinked nodes that may pile up before a series that unmapped nothing waits for readers, too.
const GARBAGE_LIMIT: usize = 64;

/// Changes a table. When it is dropped, the lock is released first; then, if anything was unmapped, it waits
/// for the readers that could still reach it, and lets go of memory that is mapped no longer.
///
/// Readers see each change at once. A thread must not hold a [`Reader`](super::Reader) meanwhile, or its own
/// garbage stays until the next series.
pub struct Editor<'t> {
    table: &'t IoPageTable,
    state: Option<MutexGuard<'t, State>>,
    unmapped: bool,
}

impl<'t> Editor<'t> {
    pub(super) fn new(table: &'t IoPageTable) -> Self {
        Self { table, state: Some(table.state.lock()), unmapped: false }
    }

    #[inline]
    fn parts(&mut self) -> (&'t AtomicU64, &mut State) {
        (&self.table.root, self.state.as_mut().expect("the lock is held until drop"))
    }

    /// Maps `range` to the bytes of `memory` from `offset` on, in the fewest leaves that alignment allows.
    ///
    /// The table keeps `memory` alive until no byte of it is mapped. Detachable memory is asked for its
    /// address at every access.
    ///
    /// # Errors
    /// `EINVAL` range not page aligned, or not inside `memory`; `EACCES` writing asked of read-only memory;
    /// `EEXIST` overlaps a mapping; `EOPNOTSUPP` a host address of more than 52 bits; `ENOMEM`. Nothing is
    /// mapped then.
    #[inline]
    pub fn map(&mut self, range: IovaRange, memory: &Memory, offset: u64, prot: Prot) -> Result<(), Errno> {
        if self.map_next(range, memory, offset, prot) {
            return Ok(());
        }
        self.map_any(range, memory, offset, prot)
    }

    /// Maps one page where the one before it went, of the memory that it was of: what mapping page after page comes
    /// to. False says nothing but that the long way is due.
    #[inline(always)]
    fn map_next(&mut self, range: IovaRange, memory: &Memory, offset: u64, prot: Prot) -> bool {
        let Some(base) = memory.stable_ptr() else { return false };
        let fits = offset <= memory.len().wrapping_sub(PAGE_SIZE) && memory.len() >= PAGE_SIZE;
        let plain = range.size() == PAGE_SIZE && range.start().is_multiple_of(PAGE_SIZE);
        if !plain || !fits || prot.contains(Prot::WRITE) && !memory.is_writable() {
            return false;
        }
        let Some(entry) = Entry::direct_page(base.expose_provenance() as u64 + offset, prot) else {
            return false;
        };
        let state = self.state.as_mut().expect("the lock is held until drop");
        state.insert_next(range.start(), entry, memory)
    }

    #[inline(never)]
    fn map_any(&mut self, range: IovaRange, memory: &Memory, offset: u64, prot: Prot) -> Result<(), Errno> {
        let size = range.size();
        let end = offset.checked_add(size).ok_or(Errno::EINVAL)?;
        if !range.is_aligned(PAGE_SIZE) || size == 0 || end > memory.len() {
            return Err(Errno::EINVAL);
        }
        if prot.contains(Prot::WRITE) && !memory.is_writable() {
            return Err(Errno::EACCES);
        }
        match memory.stable_ptr() {
            Some(base) => self.map_direct(range, memory, base.expose_provenance() as u64, offset, prot),
            None => self.map_detachable(range, memory, offset, prot),
        }
    }

    fn map_direct(
        &mut self,
        range: IovaRange,
        memory: &Memory,
        base: u64,
        offset: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let size = range.size();
        let host = base + offset;
        let entry = Entry::direct(host, prot).ok_or(Errno::EOPNOTSUPP)?;
        Entry::direct(host + (size - 1), prot).ok_or(Errno::EOPNOTSUPP)?;
        let (root, state) = self.parts();
        if state.occupied(root, range.start(), range.last()) {
            return Err(Errno::EEXIST);
        }
        // First the handle, then the entry: no reader may find memory that nobody holds.
        state.extents.acquire(memory, base, size);
        let joins = state.extents.joins(host);
        self.insert(Piece { start: range.start(), last: range.last(), entry, joins })
    }

    fn map_detachable(
        &mut self,
        range: IovaRange,
        memory: &Memory,
        offset: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let (root, state) = self.parts();
        if state.occupied(root, range.start(), range.last()) {
            return Err(Errno::EEXIST);
        }
        let shift = offset.wrapping_sub(range.start());
        let owner = Detachable { memory: memory.clone(), shift, mapped: AtomicU64::new(range.size()) };
        let entry = Entry::indirect(Box::new(owner).into_address(), prot).ok_or(Errno::EOPNOTSUPP)?;
        self.insert(Piece { start: range.start(), last: range.last(), entry, joins: true })
    }

    /// Inserts a piece that is in the books already; takes all of it back when memory runs out.
    fn insert(&mut self, piece: Piece) -> Result<(), Errno> {
        let (root, state) = self.parts();
        let result = state.insert(root, piece);
        if result.is_err() {
            let removed = state.remove(root, piece.start, piece.last);
            let size = piece.last - piece.start + 1;
            if removed < size {
                state.release(piece.entry, size - removed);
            }
            self.unmapped = true;
        }
        result
    }

    /// Maps the memory of `spans`, one after the other, from `iova` on.
    ///
    /// # Errors
    /// `EINVAL` a span is empty or not whole pages, or the range wraps; otherwise as for [`map`](Self::map).
    /// Nothing is mapped then.
    pub fn map_spans(&mut self, iova: Iova, spans: &[HostSpan], prot: Prot) -> Result<(), Errno> {
        let mut done = 0_u64;
        for span in spans {
            let at = iova.checked_add(done).filter(|at| *at > iova || done == 0);
            let range = at.and_then(|at| IovaRange::sized(at, span.len)).ok_or(Errno::EINVAL);
            let mapped = range.and_then(|range| self.map(range, &span.memory, span.offset, prot));
            if let Err(errno) = mapped {
                if let Some(range) = IovaRange::sized(iova, done) {
                    self.unmap(range)?;
                }
                return Err(errno);
            }
            done = done.wrapping_add(span.len);
        }
        Ok(())
    }

    /// Unmaps whatever lies in `range`, cutting mappings that reach beyond it; returns how many bytes that
    /// was. Readers may still be using them until the editor is dropped.
    ///
    /// # Errors
    /// `EINVAL` not page aligned.
    pub fn unmap(&mut self, range: IovaRange) -> Result<u64, Errno> {
        if !range.is_aligned(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let (root, state) = self.parts();
        let bytes = state.remove(root, range.start(), range.last());
        self.unmapped |= bytes > 0;
        Ok(bytes)
    }
}

impl Drop for Editor<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        if !self.unmapped && state.garbage.nodes() <= GARBAGE_LIMIT {
            return;
        }
        let garbage = std::mem::take(&mut state.garbage);
        state.bytes -= garbage.bytes();
        drop(state);
        if epoch::synchronize() {
            // SAFETY: everything in it was unlinked before, and the readers of that time have left.
            unsafe { garbage.free() };
        } else {
            self.table.keep(garbage);
        }
    }
}

impl IoPageTable {
    /// Keeps garbage that the calling thread itself may be looking at, for a later series to free.
    #[cold]
    fn keep(&self, garbage: Garbage) {
        let mut state = self.state.lock();
        state.bytes += garbage.bytes();
        state.garbage.append(garbage);
    }
}
