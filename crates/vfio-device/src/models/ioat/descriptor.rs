//! Descriptors of the chain, as the driver writes them into memory: 64 bytes each.
//!
//! | offset | bytes | member |
//! |---|---|---|
//! | 0 | 4 | bytes to move |
//! | 4 | 4 | control: bit 0 interrupt, 3 write the status, 5 nothing to do, 24 to 31 operation |
//! | 8 | 8 | source; for a fill, the eight bytes that are repeated |
//! | 16 | 8 | destination |
//! | 24 | 8 | address of the next one |

use vfio_iommu::DmaSpace;

use super::channel::{ERROR_CONTROL, ERROR_LENGTH, ERROR_READ, ERROR_WRITE};

/// Base-two logarithm of the most bytes of one descriptor.
pub(super) const CAPACITY_SHIFT: u8 = 15;
const CAPACITY: usize = 1 << CAPACITY_SHIFT;
const SIZE: usize = 64;

const INTERRUPT: u32 = 1 << 0;
const WRITEBACK: u32 = 1 << 3;
const NOTHING: u32 = 1 << 5;
const COPY: u8 = 0;
const FILL: u8 = 1;

/// What a descriptor asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    len: u32,
    control: u32,
    source: u64,
    destination: u64,
    pub(super) next: u64,
}

impl Descriptor {
    /// Fetches the descriptor at an address; `None`: it cannot be reached.
    pub(super) fn fetch(dma: &dyn DmaSpace, at: u64) -> Option<Self> {
        let mut bytes = [0; SIZE];
        dma.read(at, &mut bytes).ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        Some(Self {
            len: word(0) as u32,
            control: (word(0) >> 32) as u32,
            source: word(8),
            destination: word(16),
            next: word(24),
        })
    }

    /// Tells whether it asks for an interrupt.
    pub(super) fn interrupts(&self) -> bool {
        self.control & INTERRUPT != 0
    }

    /// Tells whether it asks for the status to be written.
    pub(super) fn writes_back(&self) -> bool {
        self.control & WRITEBACK != 0
    }

    /// Moves what it says; otherwise tells the error's bit.
    pub(super) fn run(&self, dma: &dyn DmaSpace) -> Result<(), u32> {
        if self.control & NOTHING != 0 {
            return Ok(());
        }
        let len = self.len as usize;
        if len == 0 || len > CAPACITY {
            return Err(ERROR_LENGTH);
        }
        let mut bytes = vec![0; len];
        match (self.control >> 24) as u8 {
            COPY => dma.read(self.source, &mut bytes).map_err(|_| ERROR_READ)?,
            FILL => {
                let pattern = self.source.to_le_bytes();
                bytes.iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, &part)| *byte = part);
            }
            _ => return Err(ERROR_CONTROL),
        }
        dma.write(self.destination, &bytes).map_err(|_| ERROR_WRITE)
    }
}
