//! The readers' side: translate and copy inside one epoch, without a lock.

// UNSAFETY: turns leaves into host pointers and copies through them.
#![expect(unsafe_code, reason = "copies from and to mapped memory")]

use std::cell::Cell;
use std::ptr;

use vfio_memory::{Memory, copy};

use super::IoPageTable;
use super::entry::{Entry, Need, PAGE_BITS, level_bits};
use super::node::{Detachable, Found, Node, Table};
use super::walk::walk;
use crate::{Access, DmaFault, FaultReason, Iova, IovaRange, Translation, epoch};

/// Address bits that a page-level table covers.
const TABLE_BITS: u32 = level_bits(1);
const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;

/// Reads a table: while it exists, an unmap in another thread waits, so it should be short-lived.
///
/// A program may hold several, of several tables. A thread that unmaps while it holds one does not wait for
/// itself: what it unmapped is out of reach, but stays allocated until a later unmap.
pub struct Reader<'t> {
    table: &'t IoPageTable,
    /// The page-level table used last, and which 2 MiB it covers: pages near each other skip the walk.
    near: Cell<Option<&'t Table>>,
    near_tag: Cell<u64>,
    /// Dropped last, after everything it keeps alive.
    _guard: epoch::Guard,
}

impl<'t> Reader<'t> {
    pub(super) fn new(table: &'t IoPageTable) -> Self {
        let _guard = epoch::enter();
        Self { table, near: Cell::new(None), near_tag: Cell::new(u64::MAX), _guard }
    }

    /// Tells where `iova` leads.
    ///
    /// # Errors
    /// `NoMapping`, `Permission`, `Detached`.
    #[inline]
    pub fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        match self.find(iova, need(access)) {
            Ok(found) if found.entry.is_direct() => Ok(Translation {
                host: found.entry.address() + found.offset,
                len: found.extent.saturating_add(1),
            }),
            Ok(found) => self.translate_detachable(iova, access, found),
            Err(reason) => Err(DmaFault { iova, len: 1, access, reason }),
        }
    }

    #[cold]
    fn translate_detachable(
        &self,
        iova: Iova,
        access: Access,
        found: Found,
    ) -> Result<Translation, DmaFault> {
        let (memory, offset) = self.detachable(found.entry, iova);
        let fault = DmaFault { iova, len: 1, access, reason: FaultReason::Detached };
        let host = memory.locate(offset, 1).map_err(|_| fault)?;
        Ok(Translation { host, len: found.extent.saturating_add(1) })
    }

    /// Copies bytes from memory; up to eight naturally aligned bytes arrive untorn.
    ///
    /// # Errors
    /// The first address refused; nothing is copied then, unless the table changes at the same moment.
    #[inline]
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let to = into.as_mut_ptr();
        self.pieces(iova, into.len() as u64, Access::Read, |piece, done| {
            // SAFETY: `done` and the piece lie inside `into`.
            let to = unsafe { to.add(done) };
            match piece {
                // SAFETY: the leaf vouches for the host range while this epoch lasts; `into` is exclusive.
                Piece::Direct(host, len) => unsafe { copy::read(host, to, len) },
                Piece::Detachable(memory, offset, len) => {
                    // SAFETY: inside `into`, which nobody else uses.
                    let to = unsafe { std::slice::from_raw_parts_mut(to, len) };
                    return memory.read(offset, to).is_ok();
                }
            }
            true
        })
    }

    /// Copies bytes to memory; up to eight naturally aligned bytes appear untorn.
    ///
    /// # Errors
    /// The first address refused; nothing is copied then, unless the table changes at the same moment.
    #[inline]
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.pieces(iova, from.len() as u64, Access::Write, |piece, done| {
            match piece {
                // SAFETY: the leaf vouches for the host range while this epoch lasts; the piece lies in `from`.
                Piece::Direct(host, len) => unsafe { copy::write(host, from.as_ptr().add(done), len) },
                Piece::Detachable(memory, offset, len) => {
                    return memory.write(offset, &from[done..done + len]).is_ok();
                }
            }
            true
        })
    }

    /// Sets `len` bytes of memory to `byte`.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.pieces(iova, len, Access::Write, |piece, _| {
            match piece {
                // SAFETY: the leaf vouches for the host range while this epoch lasts.
                Piece::Direct(host, len) => unsafe { copy::fill(host, byte, len) },
                Piece::Detachable(memory, offset, len) => {
                    return memory.fill(offset, byte, len as u64).is_ok();
                }
            }
            true
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
        let mut found = self.find(iova, need(access)).map_err(|reason| fault(iova, reason))?;
        if found.extent < len - 1 {
            self.check(range, found, access).map_err(|(at, reason)| fault(at, reason))?;
        }
        let mut at = iova;
        loop {
            let step = found.extent.min(range.last() - at) + 1;
            let piece = self.piece(found, at, step as usize);
            if !visit(piece, (at - iova) as usize) {
                return Err(fault(at, FaultReason::Detached));
            }
            if step > range.last() - at {
                return Ok(());
            }
            at += step;
            found = self.find(at, need(access)).map_err(|reason| fault(at, reason))?;
        }
    }

    /// Makes sure that everything after the first leaf may be accessed too.
    fn check(&self, range: IovaRange, first: Found, access: Access) -> Result<(), (Iova, FaultReason)> {
        let mut at = range.start();
        let mut extent = first.extent;
        while extent < range.last() - at {
            at += extent + 1;
            extent = self.find(at, need(access)).map_err(|reason| (at, reason))?.extent;
        }
        Ok(())
    }

    #[inline]
    fn piece(&self, found: Found, iova: Iova, len: usize) -> Piece<'_> {
        if found.entry.is_direct() {
            let host = (found.entry.address() + found.offset) as usize;
            return Piece::Direct(ptr::with_exposed_provenance_mut(host), len);
        }
        let (memory, offset) = self.detachable(found.entry, iova);
        Piece::Detachable(memory, offset, len)
    }

    fn detachable(&self, entry: Entry, iova: Iova) -> (&Memory, u64) {
        // SAFETY: the leaf is of this kind, and the epoch keeps what it names alive.
        let detachable = unsafe { Detachable::at(entry.address()) };
        (&detachable.memory, iova.wrapping_add(detachable.shift))
    }

    /// Finds the leaf for one address and checks the right.
    #[inline]
    fn find(&self, iova: Iova, need: Need) -> Result<Found, FaultReason> {
        if iova >> TABLE_BITS == self.near_tag.get()
            && let Some(near) = self.near.get()
        {
            let entry = near.entry((iova >> PAGE_BITS) as usize);
            if entry.allows_direct(need) {
                let offset = iova & PAGE_MASK;
                return Ok(Found { entry, offset, extent: PAGE_MASK - offset });
            }
        }
        self.find_far(iova, need)
    }

    #[inline]
    fn find_far(&self, iova: Iova, need: Need) -> Result<Found, FaultReason> {
        // SAFETY: the guard keeps this thread inside for as long as the reader exists.
        let walked = unsafe { walk(self.table.root(), iova) };
        if walked.pages.is_some() {
            self.near.set(walked.pages);
            self.near_tag.set(iova >> TABLE_BITS);
        }
        match walked.found {
            Some(found) if found.entry.allows(need) => Ok(found),
            Some(_) => Err(FaultReason::Permission),
            None => Err(FaultReason::NoMapping),
        }
    }
}

/// One contiguous part of an access.
enum Piece<'a> {
    Direct(*mut u8, usize),
    Detachable(&'a Memory, u64, usize),
}

#[inline]
const fn need(access: Access) -> Need {
    match access {
        Access::Read => Need::READ,
        Access::Write => Need::WRITE,
    }
}

macro_rules! atomics {
    ($($swap:ident $add:ident $word:ident,)*) => { impl Reader<'_> {$(
        #[doc = concat!("Stores `new` if the `", stringify!($word), "` equals `current`; returns what was there.")]
        ///
        /// # Errors
        /// `Misaligned`, then as for [`write`](Self::write).
        pub fn $swap(&self, iova: Iova, current: $word, new: $word) -> Result<$word, DmaFault> {
            self.word(iova, size_of::<$word>(), |piece| match piece {
                // SAFETY: `word` checked range and alignment.
                Piece::Direct(host, _) => Ok(unsafe { copy::$swap(host, current, new) }),
                Piece::Detachable(memory, offset, _) => {
                    memory.$swap(offset, current, new).map_err(|_| FaultReason::Detached)
                }
            })
        }

        #[doc = concat!("Adds to the `", stringify!($word), "`, wrapping; returns what was there.")]
        ///
        /// # Errors
        /// `Misaligned`, then as for [`write`](Self::write).
        pub fn $add(&self, iova: Iova, value: $word) -> Result<$word, DmaFault> {
            self.word(iova, size_of::<$word>(), |piece| match piece {
                // SAFETY: `word` checked range and alignment.
                Piece::Direct(host, _) => Ok(unsafe { copy::$add(host, value) }),
                Piece::Detachable(memory, offset, _) => {
                    memory.$add(offset, value).map_err(|_| FaultReason::Detached)
                }
            })
        }
    )*}};
}

atomics! {
    compare_exchange_u32 fetch_add_u32 u32,
    compare_exchange_u64 fetch_add_u64 u64,
}

impl Reader<'_> {
    /// Finds one naturally aligned word for reading and writing.
    fn word<T>(
        &self,
        iova: Iova,
        size: usize,
        act: impl FnOnce(Piece<'_>) -> Result<T, FaultReason>,
    ) -> Result<T, DmaFault> {
        let fault = |reason| DmaFault { iova, len: size as u64, access: Access::Write, reason };
        if !iova.is_multiple_of(size as u64) {
            return Err(fault(FaultReason::Misaligned));
        }
        let found = self.find(iova, Need::WRITE).map_err(fault)?;
        if !found.entry.allows(Need::READ) {
            return Err(DmaFault { access: Access::Read, ..fault(FaultReason::Permission) });
        }
        // Leaves begin and end on page boundaries, so an aligned word never leaves its own.
        let piece = self.piece(found, iova, size);
        if matches!(piece, Piece::Direct(host, _) if host.addr() % size != 0) {
            return Err(fault(FaultReason::Misaligned));
        }
        act(piece).map_err(fault)
    }
}
