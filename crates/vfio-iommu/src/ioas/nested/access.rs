//! Accesses of devices through a guest's table.

use super::NestedTable;
use super::tlb::Hit;
use super::walk::walk;
use crate::ioas::reach::Reach;
use crate::{Access, DmaFault, DmaSpace, FaultReason, Iova, IovaRange, Translation};

/// Most bytes of one access: a guest that maps all its addresses to one page must not keep a device busy for ever.
const MOST: u64 = 1 << 32;

/// A part of an access that is contiguous for the guest.
struct Piece {
    /// Bytes from the start of the access.
    at: u64,
    guest: u64,
    len: u64,
}

impl NestedTable {
    /// Finds where an address leads, from what is remembered or by a walk.
    fn look_up(&self, iova: Iova, access: Access) -> Result<Hit, FaultReason> {
        let remembered = self.tlb.lock().find(iova);
        if let Some(hit) = remembered
            && hit.prot.contains(access.prot())
            && (access == Access::Read || hit.dirty)
        {
            return Ok(hit);
        }
        if let Some(hit) = remembered
            && !hit.prot.contains(access.prot())
        {
            // As hardware does: what is remembered counts until it is invalidated.
            return Err(FaultReason::Permission);
        }
        let hit = walk(&self.parent, &self.format, iova, access).map_err(|stop| stop.reason())?;
        self.tlb.lock().insert(iova, hit);
        Ok(hit)
    }

    fn table(&self) -> Result<&dyn DmaSpace, FaultReason> {
        self.parent.table().map(|table| table as &dyn DmaSpace).ok_or(FaultReason::NotAttached)
    }

    /// Cuts an access at the guest's pages.
    fn pieces(&self, iova: Iova, len: u64, access: Access) -> Result<Vec<Piece>, DmaFault> {
        let fault = |at: Iova, reason| DmaFault { iova: at, len: len - (at - iova), access, reason };
        if len > MOST {
            return Err(fault(iova, FaultReason::OutOfMemory));
        }
        if len > 0 && IovaRange::sized(iova, len).is_none() {
            return Err(fault(iova, FaultReason::OutsideWindow));
        }
        let table = self.table().map_err(|reason| fault(iova, reason))?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut done = 0;
        while done < len {
            let at = iova + done;
            let hit = self.look_up(at, access).map_err(|reason| fault(at, reason))?;
            let (guest, left) = hit.at(at);
            let size = left.min(len - done);
            self.check(table, guest, size, access).map_err(|reason| fault(at, reason))?;
            match pieces.last_mut() {
                Some(last) if last.guest + last.len == guest => last.len += size,
                _ => pieces.push(Piece { at: done, guest, len: size }),
            }
            done += size;
        }
        Ok(pieces)
    }

    /// Makes sure that the parent maps a part for the access.
    fn check(&self, table: &dyn DmaSpace, guest: u64, len: u64, access: Access) -> Result<(), FaultReason> {
        let mut done = 0;
        while done < len {
            let found = table.translate(guest + done, access).map_err(|fault| beyond(fault.reason))?;
            done = done.saturating_add(found.len);
        }
        Ok(())
    }

    /// Does an access piece by piece.
    fn each(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        mut act: impl FnMut(&dyn DmaSpace, &Piece) -> Result<(), DmaFault>,
    ) -> Result<(), DmaFault> {
        for piece in self.pieces(iova, len, access)? {
            let at = iova + piece.at;
            let fault = |reason| DmaFault { iova: at, len: len - piece.at, access, reason };
            let table = self.table().map_err(fault)?;
            act(table, &piece).map_err(|refused| fault(beyond(refused.reason)))?;
            if access == Access::Write {
                self.mark(piece.guest, piece.len);
            }
        }
        Ok(())
    }

    /// Runs an operation on an aligned word.
    fn word<T>(
        &self,
        iova: Iova,
        len: u64,
        act: impl FnOnce(&dyn DmaSpace, u64) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        let fault = |reason| DmaFault { iova, len, access: Access::Write, reason };
        if !iova.is_multiple_of(len) {
            return Err(fault(FaultReason::Misaligned));
        }
        let pieces = self.pieces(iova, len, Access::Write)?;
        let piece = pieces.first().ok_or_else(|| fault(FaultReason::Detached))?;
        let table = self.table().map_err(fault)?;
        let result = act(table, piece.guest).map_err(|refused| fault(beyond(refused.reason)))?;
        self.mark(piece.guest, len);
        Ok(result)
    }

    /// Notes that the guest's memory was written, where the parent tracks that.
    fn mark(&self, guest: u64, len: u64) {
        if let (Some(dirty), Some(range)) = (self.parent.dirty(), IovaRange::sized(guest, len)) {
            dirty.mark(range);
        }
    }
}

/// Returns the reason for which a device is refused what the parent refuses.
fn beyond(reason: FaultReason) -> FaultReason {
    match reason {
        FaultReason::NoMapping | FaultReason::Permission | FaultReason::OutsideWindow => {
            FaultReason::Unbacked
        }
        other => other,
    }
}

impl Reach for NestedTable {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.each(iova, into.len() as u64, Access::Read, |table, piece| {
            let at = piece.at as usize;
            table.read(piece.guest, &mut into[at..at + piece.len as usize])
        })
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.each(iova, from.len() as u64, Access::Write, |table, piece| {
            let at = piece.at as usize;
            table.write(piece.guest, &from[at..at + piece.len as usize])
        })
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.each(iova, len, Access::Write, |table, piece| table.fill(piece.guest, byte, piece.len))
    }

    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |table, guest| table.compare_exchange_u32(guest, current, new))
    }

    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |table, guest| table.compare_exchange_u64(guest, current, new))
    }

    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |table, guest| table.fetch_add_u32(guest, value))
    }

    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |table, guest| table.fetch_add_u64(guest, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let fault = |reason| DmaFault { iova, len: 1, access, reason };
        let hit = self.look_up(iova, access).map_err(fault)?;
        let (guest, left) = hit.at(iova);
        let table = self.table().map_err(fault)?;
        let found = table.translate(guest, access).map_err(|refused| fault(beyond(refused.reason)))?;
        Ok(Translation { host: found.host, len: found.len.min(left) })
    }
}
