//! What a device of an endpoint sees: its windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::endpoint::Shared;
use super::{Tce, TceTable};
use crate::{Access, DmaFault, DmaSpace, FaultReason, IoPageTable, Iova, Stopped, Translation, epoch};

/// Reaches memory through the windows of an endpoint; refusals are logged, and may freeze it.
pub(super) struct EndpointSpace {
    endpoint: Arc<Shared>,
    name: Arc<str>,
    open: Arc<AtomicBool>,
}

/// A piece of an access, within one entry.
struct Piece<'w> {
    table: &'w TceTable,
    real: u64,
    len: u64,
}

impl Piece<'_> {
    fn memory(&self) -> &IoPageTable {
        self.table.memory.real().table()
    }
}

impl EndpointSpace {
    pub(super) fn new(endpoint: Arc<Shared>, name: &str, open: Arc<AtomicBool>) -> Self {
        Self { endpoint, name: name.into(), open }
    }

    /// Runs an access inside one epoch: `run` gets the pieces in order, none before all are known to be allowed.
    #[inline]
    fn access<T>(
        &self,
        iova: Iova,
        len: u64,
        access: &[Access],
        mut run: impl FnMut(&Piece<'_>, u64) -> Result<T, DmaFault>,
    ) -> Result<Option<T>, DmaFault> {
        let kind = access.last().copied().unwrap_or(Access::Read);
        let fault = |at: Iova, reason| DmaFault { iova: at, len: len - (at - iova), access: kind, reason };
        let result = self.endpoint.with_windows(|windows| {
            if !self.open.load(Ordering::Acquire) {
                return Err(fault(iova, FaultReason::NotAttached));
            }
            if self.endpoint.stopped().contains(Stopped::DMA) {
                return Err(fault(iova, FaultReason::Frozen));
            }
            if len > 0 && iova.checked_add(len - 1).is_none() {
                return Err(fault(iova, FaultReason::OutsideWindow));
            }
            if len == 0 {
                return Ok(None);
            }
            let _inside = epoch::enter();
            let find = |done: u64| {
                let at = iova + done;
                find(windows, at, len - done, access).map_err(|reason| fault(at, reason))
            };
            let first = find(0)?;
            if first.len == len {
                return run(&first, 0).map(Some);
            }
            let mut done = first.len;
            while done < len {
                done += find(done)?.len;
            }
            let (mut done, mut last) = (0, None);
            while done < len {
                let piece = find(done)?;
                last = Some(run(&piece, done)?);
                done += piece.len;
            }
            Ok(last)
        });
        result.map_err(|fault| self.endpoint.report(&self.name, fault))
    }

    /// Runs an access of one naturally aligned word, which never leaves its entry.
    fn word<T>(
        &self,
        iova: Iova,
        size: u64,
        run: impl FnMut(&Piece<'_>, u64) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        let misaligned = DmaFault { iova, len: size, access: Access::Write, reason: FaultReason::Misaligned };
        if !iova.is_multiple_of(size) {
            return Err(self.endpoint.report(&self.name, misaligned));
        }
        self.access(iova, size, &[Access::Read, Access::Write], run)?.ok_or(misaligned)
    }
}

/// Finds where an address leads, for at most `len` bytes.
#[inline]
fn find<'w>(
    windows: &'w [Option<Arc<TceTable>>],
    at: Iova,
    len: u64,
    access: &[Access],
) -> Result<Piece<'w>, FaultReason> {
    for table in windows.iter().flatten() {
        let Some(tce) = table.entry(at) else { continue };
        if tce == Tce::NONE {
            return Err(FaultReason::NoMapping);
        }
        if !access.iter().all(|access| tce.prot().contains(access.prot())) {
            return Err(FaultReason::Permission);
        }
        let inside = (at - table.geometry.start) & (table.page_size() - 1);
        return Ok(Piece { table, real: tce.real() + inside, len: len.min(table.page_size() - inside) });
    }
    Err(FaultReason::OutsideWindow)
}

/// Tells of a refusal of the memory itself in the device's terms.
fn detached(iova: Iova, fault: DmaFault) -> DmaFault {
    DmaFault { iova, reason: FaultReason::Detached, ..fault }
}

impl DmaSpace for EndpointSpace {
    fn stopped(&self) -> Option<Stopped> {
        self.endpoint.freezing().then(|| self.endpoint.stopped())
    }

    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let len = into.len() as u64;
        let run = |piece: &Piece<'_>, done: u64| {
            let part = &mut into[done as usize..][..piece.len as usize];
            piece.memory().read(piece.real, part).map_err(|fault| detached(iova + done, fault))
        };
        self.access(iova, len, &[Access::Read], run).map(drop)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let run = |piece: &Piece<'_>, done: u64| {
            let part = &from[done as usize..][..piece.len as usize];
            piece.memory().write(piece.real, part).map_err(|fault| detached(iova + done, fault))
        };
        self.access(iova, from.len() as u64, &[Access::Write], run).map(drop)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        let run = |piece: &Piece<'_>, done: u64| {
            piece.memory().fill(piece.real, byte, piece.len).map_err(|fault| detached(iova + done, fault))
        };
        self.access(iova, len, &[Access::Write], run).map(drop)
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |piece, _| {
            let result = piece.memory().compare_exchange_u32(piece.real, current, new);
            result.map_err(|fault| detached(iova, fault))
        })
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |piece, _| {
            let result = piece.memory().compare_exchange_u64(piece.real, current, new);
            result.map_err(|fault| detached(iova, fault))
        })
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |piece, _| {
            piece.memory().fetch_add_u32(piece.real, value).map_err(|fault| detached(iova, fault))
        })
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |piece, _| {
            piece.memory().fetch_add_u64(piece.real, value).map_err(|fault| detached(iova, fault))
        })
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let not_attached = DmaFault { iova, len: 1, access, reason: FaultReason::NotAttached };
        let found = self.access(iova, 1, &[access], |piece, _| {
            let inside = piece.real & (piece.table.page_size() - 1);
            let mut found =
                piece.memory().translate(piece.real, access).map_err(|fault| detached(iova, fault))?;
            found.len = found.len.min(piece.table.page_size() - inside);
            Ok(found)
        })?;
        found.ok_or(not_attached)
    }
}
