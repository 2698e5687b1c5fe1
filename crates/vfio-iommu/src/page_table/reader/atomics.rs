//! Atomic operations on mapped words.

// UNSAFETY: as in the parent.
#![expect(unsafe_code, reason = "changes mapped memory")]

use vfio_memory::copy;

use super::{Piece, Reader};
use crate::{Access, DmaFault, FaultReason, Iova};

macro_rules! atomics {
    ($($swap:ident $add:ident $word:ident,)*) => { impl Reader<'_> {$(
        #[doc = concat!("Stores `new` if the `", stringify!($word), "` equals `current`; returns what was there.")]
        ///
        /// # Errors
        /// `Misaligned`, then as for [`write`](Self::write); a mapping for writing only is refused for reading.
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
        /// `Misaligned`, then as for [`write`](Self::write); a mapping for writing only is refused for reading.
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
        let fault = |access, reason| DmaFault { iova, len: size as u64, access, reason };
        let misaligned = fault(Access::Write, FaultReason::Misaligned);
        if !iova.is_multiple_of(size as u64) {
            return Err(misaligned);
        }
        // Leaves begin and end on page boundaries, so an aligned word never leaves its own.
        let find = |access| self.piece(iova, size as u64 - 1, access).map_err(|reason| fault(access, reason));
        find(Access::Read)?;
        let (piece, _) = find(Access::Write)?;
        if matches!(piece, Piece::Direct(host, _) if !host.addr().is_multiple_of(size)) {
            return Err(misaligned);
        }
        act(piece).map_err(|reason| fault(Access::Write, reason))
    }
}
