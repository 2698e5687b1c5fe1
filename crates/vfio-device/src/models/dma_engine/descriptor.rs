//! An entry of the ring.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | operation: 0 none, 1 copy, 2 fill, 3 compare, 4 CRC-32C |
//! | 1 | 1 | flags: bit 0 asks for the interrupt |
//! | 2 | 2 | status, written last: 1 done, 2 differs, from 0x10 on refused |
//! | 4 | 4 | length in bytes |
//! | 8 | 8 | source |
//! | 16 | 8 | destination; what a compare compares with |
//! | 24 | 8 | pattern of a fill; result: the checksum, or where a compare first differed |

use vfio_iommu::{DmaFault, DmaSpace};

use super::operation::Outcome;

const STATUS_OFFSET: u64 = 2;
const RESULT_OFFSET: u64 = 24;
const INTERRUPT: u8 = 1;

/// Says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) operation: u8,
    flags: u8,
    pub(super) len: u32,
    pub(super) source: u64,
    pub(super) destination: u64,
    pub(super) pattern: u64,
}

impl Descriptor {
    /// Bytes of an entry.
    pub(super) const SIZE: u64 = 32;

    /// Reads an entry from the ring.
    pub(super) fn fetch(dma: &dyn DmaSpace, at: u64) -> Result<Self, DmaFault> {
        let mut words = [0; Self::SIZE as usize];
        dma.read(at, &mut words)?;
        let word = |index: usize| u64::from_le_bytes(words.as_chunks::<8>().0[index]);
        Ok(Self {
            operation: words[0],
            flags: words[1],
            len: (word(0) >> 32) as u32,
            source: word(1),
            destination: word(2),
            pattern: word(3),
        })
    }

    /// Writes into the ring what became of it, the status last.
    pub(super) fn complete(&self, dma: &dyn DmaSpace, at: u64, outcome: Outcome) -> Result<(), DmaFault> {
        if let Some(result) = outcome.result {
            dma.write(at.wrapping_add(RESULT_OFFSET), &result.to_le_bytes())?;
        }
        dma.write(at.wrapping_add(STATUS_OFFSET), &(outcome.status as u16).to_le_bytes())
    }

    pub(super) fn interrupts(&self) -> bool {
        self.flags & INTERRUPT != 0
    }
}
