//! A DMA engine: copies, fills, compares and checksums memory by descriptors that a driver puts in a ring.
//!
//! Vendor 1234, device 0d3a. BAR 0 has 16 KiB of memory space: registers, the MSI-X table at 0x2000 with one vector,
//! its pending bits at 0x3000.
//!
//! | offset | bytes | register |
//! |---|---|---|
//! | 0x00 | 4 | identification, 0x010d_3a00 |
//! | 0x04 | 4 | most entries of a ring |
//! | 0x08 | 4 | control: bit 0 runs the engine; cleared, the registers below may be written |
//! | 0x0c | 4 | status: bit 0 runs, bit 1 stopped, since the ring could not be reached |
//! | 0x10 | 8 | address of the ring |
//! | 0x18 | 4 | entries of the ring, a power of two |
//! | 0x1c | 4 | tail: the entry after the last one to do; writing it starts the work |
//! | 0x20 | 4 | head: the next entry to be done |
//! | 0x28 | 8 | entries done since the last reset |
//!
//! A write to the tail returns when the work is done, and the message is sent once then, if an entry asked for it.
//! So that no driver can hold a thread for long, a ring has at most 1,024 entries of at most 4 MiB. All of it is
//! copied through a small buffer inside the processor's cache. Memory that only messages reach is out of its reach.

mod crc32c;
mod descriptor;
mod operation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;

use crate::pci::{
    BarSpace, BarSpec, Capability, DeviceBus, FunctionSpec, Identity, MsixSpec, PciFunction, PciModel,
    ResetKind,
};
use descriptor::Descriptor;

const BAR_SIZE: u64 = 0x4000;
const MSIX_TABLE: u32 = 0x2000;
const MSIX_PENDING: u32 = 0x3000;
const IDENTIFICATION: u32 = 0x010d_3a00;
/// Most entries of a ring.
const MAX_ENTRIES: u32 = 1024;

const ID: u64 = 0x00;
const LIMIT: u64 = 0x04;
const CONTROL: u64 = 0x08;
const STATUS: u64 = 0x0c;
const RING_LOW: u64 = 0x10;
const RING_HIGH: u64 = 0x14;
const ENTRIES: u64 = 0x18;
const TAIL: u64 = 0x1c;
const HEAD: u64 = 0x20;
const DONE_LOW: u64 = 0x28;
const DONE_HIGH: u64 = 0x2c;

const RUN: u32 = 1;
const STOPPED: u32 = 2;

/// Describes a DMA engine.
#[derive(Debug, Clone)]
pub struct DmaEngineConfig {
    /// Name for messages and faults, such as `0000:00:04.0`.
    pub name: String,
    /// Which function it claims to be.
    pub identity: Identity,
}

impl DmaEngineConfig {
    /// Describes the engine with an identity of its own.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let identity = Identity {
            vendor: 0x1234,
            device: 0x0d3a,
            subsystem_vendor: 0x1234,
            subsystem: 0x0d3a,
            revision: 1,
            class: 0x08_8000,
        };
        Self { name: name.into(), identity }
    }
}

/// Emulates the engine behind its function.
#[derive(Debug)]
pub struct DmaEngine {
    bus: DeviceBus,
    registers: Mutex<Registers>,
    /// Held while entries are being done: rings of the bell take turns.
    work: Mutex<()>,
}

#[derive(Debug, Default)]
struct Registers {
    status: u32,
    ring: u64,
    entries: u32,
    head: u32,
    tail: u32,
    done: u64,
    /// Counts resets, so that work that one cut short ends.
    generation: u64,
}

impl Registers {
    /// Returns where the next entry lies, if there is one to do.
    fn next(&self) -> Option<u64> {
        let due = self.status & RUN != 0 && self.head != self.tail;
        due.then(|| self.ring.wrapping_add(u64::from(self.head) * Descriptor::SIZE))
    }
}

impl DmaEngine {
    /// Makes a function with the engine behind it.
    ///
    /// # Errors
    /// `EINVAL` the identity makes no sense.
    pub fn function(config: DmaEngineConfig) -> Result<Arc<PciFunction>, Errno> {
        let mut spec = FunctionSpec::new(config.name, config.identity);
        spec.bars[0] = Some(BarSpec::model(BAR_SIZE, BarSpace::Memory64));
        let msix = MsixSpec {
            vectors: 1,
            table_bar: 0,
            table_offset: MSIX_TABLE,
            pba_bar: 0,
            pba_offset: MSIX_PENDING,
        };
        spec.capabilities.push(Capability::msix(msix).at(0x40));
        PciFunction::new(spec, |bus| {
            Arc::new(Self { bus, registers: Mutex::default(), work: Mutex::default() })
        })
    }

    fn read_register(&self, offset: u64) -> u32 {
        let registers = self.registers.lock();
        match offset {
            ID => IDENTIFICATION,
            LIMIT => MAX_ENTRIES,
            CONTROL => registers.status & RUN,
            STATUS => registers.status,
            RING_LOW => registers.ring as u32,
            RING_HIGH => (registers.ring >> 32) as u32,
            ENTRIES => registers.entries,
            TAIL => registers.tail,
            HEAD => registers.head,
            DONE_LOW => registers.done as u32,
            DONE_HIGH => (registers.done >> 32) as u32,
            _ => 0,
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        if offset == TAIL {
            return self.ring_bell(value);
        }
        let mut registers = self.registers.lock();
        let stopped = registers.status & RUN == 0;
        match offset {
            CONTROL if value & RUN == 0 => registers.status = 0,
            CONTROL if stopped && registers.entries != 0 => {
                (registers.status, registers.head, registers.tail) = (RUN, 0, 0);
            }
            RING_LOW if stopped => registers.ring = registers.ring >> 32 << 32 | u64::from(value),
            RING_HIGH if stopped => {
                registers.ring = registers.ring & u64::from(u32::MAX) | u64::from(value) << 32;
            }
            ENTRIES if stopped && value.is_power_of_two() && value <= MAX_ENTRIES => {
                registers.entries = value
            }
            _ => {}
        }
    }

    /// Does the entries up to `tail`, then interrupts.
    fn ring_bell(&self, tail: u32) {
        let interrupt = {
            let _turn = self.work.lock();
            let Some(generation) = self.accept(tail) else { return };
            let Some(dma) = self.bus.dma() else { return };
            let mut interrupt = false;
            while self.step(generation, &*dma, &mut interrupt) {}
            interrupt
        };
        if interrupt {
            // The one vector that there is; without it the function is gone.
            let _ = self.bus.msix(0);
        }
    }

    /// Takes a new tail, unless it makes no sense.
    fn accept(&self, tail: u32) -> Option<u64> {
        let mut registers = self.registers.lock();
        if registers.status & RUN == 0 || tail >= registers.entries {
            return None;
        }
        registers.tail = tail;
        Some(registers.generation)
    }

    /// Does one entry; tells whether there may be another.
    fn step(&self, generation: u64, dma: &dyn DmaSpace, interrupt: &mut bool) -> bool {
        let at = {
            let registers = self.registers.lock();
            registers.next().filter(|_| registers.generation == generation)
        };
        let Some(at) = at else { return false };
        let done = Descriptor::fetch(dma, at).and_then(|descriptor| {
            let outcome = operation::run(dma, &descriptor);
            descriptor.complete(dma, at, outcome)?;
            Ok(descriptor.interrupts())
        });
        let mut registers = self.registers.lock();
        if registers.generation != generation {
            return false;
        }
        match done {
            Ok(interrupts) => {
                *interrupt |= interrupts;
                registers.head = (registers.head + 1) & registers.entries.wrapping_sub(1);
                registers.done += 1;
                true
            }
            Err(_) => {
                registers.status = STOPPED;
                false
            }
        }
    }
}

impl PciModel for DmaEngine {
    fn bar_read(&self, _bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        into.fill(0);
        if offset.is_multiple_of(4) && into.len().is_multiple_of(4) {
            for (at, word) in (offset..).step_by(4).zip(into.chunks_exact_mut(4)) {
                word.copy_from_slice(&self.read_register(at).to_le_bytes());
            }
        }
        Ok(())
    }

    fn bar_write(&self, _bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        if offset.is_multiple_of(4) {
            for (at, word) in (offset..).step_by(4).zip(from.as_chunks::<4>().0) {
                self.write_register(at, u32::from_le_bytes(*word));
            }
        }
        Ok(())
    }

    fn reset(&self, _kind: ResetKind) {
        let mut registers = self.registers.lock();
        let generation = registers.generation + 1;
        *registers = Registers { generation, ..Registers::default() };
    }
}
