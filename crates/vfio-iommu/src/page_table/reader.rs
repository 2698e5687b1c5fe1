//! The readers' side: translate and copy inside one epoch, without a lock.

// UNSAFETY: turns leaves into host pointers and copies through them.
#![expect(unsafe_code, reason = "copies from and to mapped memory")]

mod atomics;
mod batch;

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::AtomicU64;

use vfio_memory::{Memory, copy};

use super::IoPageTable;
use super::cursor::{Cursor, Direct, once};
use super::entry::{Entry, Need};
use super::node::{Detachable, Found, Node};
use crate::{Access, DmaFault, FaultReason, Iova, IovaRange, Translation, epoch};

/// Reads a table: while it exists, an unmap in another thread waits, so it should be short-lived.
///
/// A program may hold several, of several tables. A thread that unmaps while it holds one does not wait for
/// itself: what it unmapped is out of reach, but stays allocated until a later unmap.
pub struct Reader<'t> {
    cursor: Cursor<'t>,
    _guard: epoch::Guard,
    _table: PhantomData<&'t IoPageTable>,
}

impl<'t> Reader<'t> {
    #[inline]
    pub(super) fn new(root: &'t AtomicU64) -> Self {
        let guard = epoch::enter();
        // SAFETY: the guard is held beside the cursor, and the borrow of the root keeps the table.
        Self { cursor: unsafe { Cursor::new(root) }, _guard: guard, _table: PhantomData }
    }

    /// Tells where `iova` leads.
    ///
    /// # Errors
    /// `NoMapping`, `Permission`, `Detached`.
    #[inline(always)]
    pub fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        match self.cursor.near(iova, need(access)) {
            Some(direct) => Ok(translation(direct)),
            None => self.translate_far(iova, access),
        }
    }

    #[inline(never)]
    fn translate_far(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let fault = |reason| DmaFault { iova, len: 1, access, reason };
        let found = self.cursor.find(iova, need(access)).map_err(fault)?;
        if let Some(direct) = found.direct() {
            return Ok(translation(direct));
        }
        let (memory, offset) = self.detachable(found.entry, iova);
        let host = memory.locate(offset, 1).map_err(|_| fault(FaultReason::Detached))?;
        Ok(Translation { host, len: found.extent.saturating_add(1) })
    }

    /// Copies bytes from memory; up to eight naturally aligned bytes arrive untorn.
    ///
    /// # Errors
    /// The first address refused; nothing is copied then, unless the table changes at the same moment.
    #[inline]
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        match self.cursor.near(iova, Need::READ) {
            // SAFETY: the leaf vouches for the host range while this epoch lasts; `into` is exclusive.
            Some(direct) if direct.holds(into.len()) => unsafe {
                copy::read(direct.ptr(), into.as_mut_ptr(), into.len());
                Ok(())
            },
            _ => self.read_far(iova, into),
        }
    }

    #[inline(never)]
    fn read_far(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.pieces(iova, into.len() as u64, Access::Read, |piece, done| match piece {
            // SAFETY: as in `read`; `done` and the piece lie inside `into`.
            Piece::Direct(host, len) => unsafe {
                copy::read(host, into[done..done + len].as_mut_ptr(), len);
                true
            },
            Piece::Detachable(memory, offset, len) => {
                memory.read(offset, &mut into[done..done + len]).is_ok()
            }
        })
    }

    /// Copies bytes to memory; up to eight naturally aligned bytes appear untorn.
    ///
    /// # Errors
    /// The first address refused; nothing is copied then, unless the table changes at the same moment.
    #[inline]
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        match self.cursor.near(iova, Need::WRITE) {
            // SAFETY: the leaf vouches for the host range while this epoch lasts.
            Some(direct) if direct.holds(from.len()) => unsafe {
                copy::write(direct.ptr(), from.as_ptr(), from.len());
                Ok(())
            },
            _ => self.write_far(iova, from),
        }
    }

    #[inline(never)]
    fn write_far(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.pieces(iova, from.len() as u64, Access::Write, |piece, done| match piece {
            // SAFETY: as in `write`; `done` and the piece lie inside `from`.
            Piece::Direct(host, len) => unsafe {
                copy::write(host, from[done..done + len].as_ptr(), len);
                true
            },
            Piece::Detachable(memory, offset, len) => memory.write(offset, &from[done..done + len]).is_ok(),
        })
    }

    /// Sets `len` bytes of memory to `byte`.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.pieces(iova, len, Access::Write, |piece, _| match piece {
            // SAFETY: the leaf vouches for the host range while this epoch lasts.
            Piece::Direct(host, len) => unsafe {
                copy::fill(host, byte, len);
                true
            },
            Piece::Detachable(memory, offset, len) => memory.fill(offset, byte, len as u64).is_ok(),
        })
    }

    /// Hands out `iova..iova + len` piece by piece, after making sure that all of it may be accessed.
    #[inline]
    fn pieces(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        mut visit: impl FnMut(Piece<'_>, usize) -> bool,
    ) -> Result<(), DmaFault> {
        if len == 0 {
            return Ok(());
        }
        let fault =
            |at: Iova, reason| DmaFault { iova: at, len: len - at.wrapping_sub(iova), access, reason };
        let Some(range) = IovaRange::sized(iova, len) else {
            return Err(fault(iova, FaultReason::OutsideWindow));
        };
        let mut ahead = self.look_ahead(range, access, true).map_err(|(at, reason)| fault(at, reason))?;
        let mut at = iova;
        loop {
            for (host, step) in ahead.pieces() {
                let host = ptr::with_exposed_provenance_mut(host as usize);
                visit(Piece::Direct(host, step as usize), (at - iova) as usize);
                if step > range.last() - at {
                    return Ok(());
                }
                at += step;
            }
            if ahead.known == 0 {
                let left = range.last() - at;
                let (piece, step) = self.piece(at, left, access).map_err(|reason| fault(at, reason))?;
                if !visit(piece, (at - iova) as usize) {
                    return Err(fault(at, FaultReason::Detached));
                }
                if step > left {
                    return Ok(());
                }
                at += step;
            }
            let rest = IovaRange::sized(at, range.last() - at + 1).unwrap_or(range);
            ahead = self.look_ahead(rest, access, false).map_err(|(at, reason)| fault(at, reason))?;
        }
    }

    /// Notes where the first addresses of a range lead, as far as that is host memory and there is room, and has them
    /// fetched. With `whole`, makes sure that every address may be accessed.
    #[inline]
    fn look_ahead(
        &self,
        range: IovaRange,
        access: Access,
        whole: bool,
    ) -> Result<Ahead, (Iova, FaultReason)> {
        let mut ahead = Ahead { known: 0, hosts: [(0, 0); AHEAD] };
        let (mut at, mut note) = (range.start(), true);
        loop {
            let left = range.last() - at;
            let direct = match self.cursor.near(at, need(access)) {
                Some(direct) => Ok(direct),
                None => {
                    let found = self.cursor.find(at, need(access)).map_err(|reason| (at, reason))?;
                    found.direct().ok_or(found.extent)
                }
            };
            note = note && direct.is_ok_and(|Direct { host, extent }| ahead.note(host, extent.min(left) + 1));
            let extent = direct.map_or_else(|extent| extent, |direct| direct.extent);
            if extent >= left || !(note || whole) {
                return Ok(ahead);
            }
            at += extent + 1;
        }
    }

    /// Finds the piece at `iova`, of at most `left + 1` bytes, and its length.
    #[inline]
    fn piece(&self, iova: Iova, left: u64, access: Access) -> Result<(Piece<'_>, u64), FaultReason> {
        let direct = |direct: Direct| {
            let step = direct.extent.min(left) + 1;
            (Piece::Direct(direct.ptr(), step as usize), step)
        };
        if let Some(near) = self.cursor.near(iova, need(access)) {
            return Ok(direct(near));
        }
        let found = self.cursor.find(iova, need(access))?;
        Ok(found.direct().map(direct).unwrap_or_else(|| self.detachable_piece(found, iova, left)))
    }

    fn detachable_piece(&self, found: Found, iova: Iova, left: u64) -> (Piece<'_>, u64) {
        let (memory, offset) = self.detachable(found.entry, iova);
        let step = found.extent.min(left) + 1;
        (Piece::Detachable(memory, offset, step as usize), step)
    }

    fn detachable(&self, entry: Entry, iova: Iova) -> (&Memory, u64) {
        // SAFETY: the leaf is of this kind, and the epoch keeps what it names alive.
        let detachable = unsafe { Detachable::at(entry.address()) };
        (&detachable.memory, iova.wrapping_add(detachable.shift))
    }
}

/// Pieces of an access that are noted while it is checked, so that the tables are walked once: 128 KiB of pages.
const AHEAD: usize = 32;

/// The first pieces of an access: host address and length.
struct Ahead {
    known: usize,
    hosts: [(u64, u64); AHEAD],
}

impl Ahead {
    /// Notes a piece; false when there is no room.
    #[inline(always)]
    fn note(&mut self, host: u64, len: u64) -> bool {
        let Some(place) = self.hosts.get_mut(self.known) else { return false };
        *place = (host, len);
        self.known += 1;
        copy::prefetch(ptr::with_exposed_provenance(host as usize));
        true
    }

    fn pieces(&self) -> impl Iterator<Item = (u64, u64)> {
        self.hosts.iter().copied().take(self.known)
    }
}

/// One contiguous part of an access.
enum Piece<'a> {
    Direct(*mut u8, usize),
    Detachable(&'a Memory, u64, usize),
}

impl Direct {
    /// Tells whether `len` bytes, at least one, lie in the leaf from here on.
    #[inline(always)]
    fn holds(self, len: usize) -> bool {
        (len as u64).wrapping_sub(1) <= self.extent
    }

    #[inline(always)]
    fn ptr(self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.host as usize)
    }
}

#[inline(always)]
fn translation(direct: Direct) -> Translation {
    Translation { host: direct.host, len: direct.extent.saturating_add(1) }
}

#[inline(always)]
const fn need(access: Access) -> Need {
    match access {
        Access::Read => Need::READ,
        Access::Write => Need::WRITE,
    }
}

/// One access in an epoch of its own, which has no use for remembered tables.
impl IoPageTable {
    #[inline]
    pub(super) fn translate_once(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let guard = epoch::enter();
        match once(&self.root, iova, need(access), &guard) {
            Some(direct) => Ok(translation(direct)),
            None => self.far(|reader| reader.translate_far(iova, access)),
        }
    }

    #[inline]
    pub(super) fn read_once(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let guard = epoch::enter();
        match once(&self.root, iova, Need::READ, &guard) {
            // SAFETY: the leaf vouches for the host range while this epoch lasts; `into` is exclusive.
            Some(direct) if direct.holds(into.len()) => unsafe {
                copy::read(direct.ptr(), into.as_mut_ptr(), into.len());
                Ok(())
            },
            _ => self.far(|reader| reader.read_far(iova, into)),
        }
    }

    #[inline]
    pub(super) fn write_once(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let guard = epoch::enter();
        match once(&self.root, iova, Need::WRITE, &guard) {
            // SAFETY: the leaf vouches for the host range while this epoch lasts.
            Some(direct) if direct.holds(from.len()) => unsafe {
                copy::write(direct.ptr(), from.as_ptr(), from.len());
                Ok(())
            },
            _ => self.far(|reader| reader.write_far(iova, from)),
        }
    }

    /// Takes the long way, with a reader inside the epoch that the caller is in already.
    #[inline(never)]
    fn far<T>(&self, act: impl FnOnce(&Reader<'_>) -> Result<T, DmaFault>) -> Result<T, DmaFault> {
        act(&self.reader())
    }
}
