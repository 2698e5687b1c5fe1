//! The DMA engine of `edu`.

use vfio_iommu::{DmaFault, DmaSpace};

use super::{BUFFER_SIZE, DMA_DESTINATION, DMA_SOURCE, Edu, Registers};

const DMA_RUN: u64 = 0x1;
const DMA_TO_MEMORY: u64 = 0x2;
const DMA_IRQ: u64 = 0x4;
const DMA_DONE: u32 = 0x100;
/// Where the DMA buffer lies in the device's own address space.
const BUFFER_START: u64 = 0x40000;

/// Says which way a DMA goes, with the place in the buffer.
enum Transfer {
    FromMemory { address: u64, at: usize, len: usize },
    ToMemory { address: u64, bytes: Vec<u8> },
    Nothing,
}

impl Edu {
    /// Writes to a register that a DMA uses, unless one is under way.
    pub(super) fn set_dma_register(&self, offset: u64, value: u64) {
        let mut registers = self.registers.lock();
        if registers.command & DMA_RUN != 0 {
            return;
        }
        match offset {
            DMA_SOURCE => registers.source = value,
            DMA_DESTINATION => registers.destination = value,
            _ => registers.count = value,
        }
    }

    /// Starts a DMA if the command says so, unless one is under way.
    pub(super) fn run_dma(&self, command: u64) {
        let (generation, transfer) = {
            let mut registers = self.registers.lock();
            if command & DMA_RUN == 0 || registers.command & DMA_RUN != 0 {
                return;
            }
            registers.command = command;
            registers.generation += 1;
            (registers.generation, self.plan_dma(&registers, command))
        };
        let this = self.this.clone();
        match (self.bus.dma(), transfer) {
            (Some(dma), Transfer::FromMemory { address, at, len }) => {
                let done = move |read: Result<Vec<u8>, DmaFault>| {
                    if let Some(edu) = this.upgrade() {
                        // What nobody answers reads as zeroes.
                        edu.end_dma(generation, Some((at, read.unwrap_or_else(|_| vec![0; len]))));
                    }
                };
                dma.submit_read(address, len, Box::new(done));
            }
            (Some(dma), Transfer::ToMemory { address, bytes }) => {
                let done = move |_written: Result<(), DmaFault>| {
                    // The device does not see what becomes of a posted write; a refusal is the fault log's to report.
                    if let Some(edu) = this.upgrade() {
                        edu.end_dma(generation, None);
                    }
                };
                dma.submit_write(address, bytes, Box::new(done));
            }
            _ => self.end_dma(generation, None),
        }
    }

    fn end_dma(&self, generation: u64, arrived: Option<(usize, Vec<u8>)>) {
        let interrupt = {
            let mut registers = self.registers.lock();
            if registers.generation != generation {
                return;
            }
            if let Some((at, bytes)) = arrived
                && let Some(place) = registers.buffer.get_mut(at..at + bytes.len())
            {
                place.copy_from_slice(&bytes);
            }
            registers.command &= !DMA_RUN;
            registers.command & DMA_IRQ != 0
        };
        if interrupt {
            self.raise(DMA_DONE);
        }
    }

    fn plan_dma(&self, registers: &Registers, command: u64) -> Transfer {
        let to_memory = command & DMA_TO_MEMORY != 0;
        let (own, address) = if to_memory {
            (registers.source, registers.destination)
        } else {
            (registers.destination, registers.source)
        };
        let start = own.checked_sub(BUFFER_START).and_then(|at| usize::try_from(at).ok());
        let len = usize::try_from(registers.count).ok();
        let range = start.zip(len).and_then(|(at, len)| {
            let end = at.checked_add(len).filter(|end| *end <= BUFFER_SIZE)?;
            (len != 0).then_some(at..end)
        });
        let address = address & self.dma_mask;
        match range {
            None => Transfer::Nothing,
            Some(range) if to_memory => {
                Transfer::ToMemory { address, bytes: registers.buffer[range].to_vec() }
            }
            Some(range) => Transfer::FromMemory { address, at: range.start, len: range.len() },
        }
    }
}
