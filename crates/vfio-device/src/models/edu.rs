//! `edu`, the educational device of QEMU: the DMA test device of this package.
//!
//! BAR 0 has 1 MiB of memory space. Below 0x80 registers take accesses of 4 bytes, from there on of 4 or 8; other accesses
//! read as all ones (1 and 2 bytes as zero) and write nothing.
//!
//! | offset | access | register |
//! |---|---|---|
//! | 0x00 | R | identification, 0x010000ed |
//! | 0x04 | RW | liveness: reads as the bitwise inverse of what was written |
//! | 0x08 | RW | factorial: reads as the factorial (mod 2^32) of what was written |
//! | 0x20 | RW | status: bit 0 computing (never seen set: it is done at once); bit 7 interrupt when a factorial is done |
//! | 0x24 | R | interrupt status: bits that were raised and not acknowledged; 0x1 factorial, 0x100 DMA |
//! | 0x60 | W | raises an interrupt with these bits |
//! | 0x64 | W | acknowledges these bits |
//! | 0x80 | RW | DMA source |
//! | 0x88 | RW | DMA destination |
//! | 0x90 | RW | DMA count |
//! | 0x98 | RW | DMA command: 0x1 start (reads as 0 when done), 0x2 from the device to memory, 0x4 interrupt when done |
//!
//! The device's end of a DMA is its buffer of 4096 bytes at 0x40000. Bus addresses are cut to 28 bits
//! ([`EduConfig::dma_mask`]). A DMA is done when the write of the command returns, unless the memory is only reachable by
//! messages: then the start bit reads as 1 until the answer is there, and writes to the DMA registers are dropped. One that
//! does not fit the buffer moves nothing, one that the IOMMU refuses reads zeroes or writes nothing; both are done all the
//! same. Interrupts come by MSI when
//! it is enabled, otherwise by the line, which stays asserted until every bit is acknowledged. A reset clears everything.

mod dma;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use crate::pci::{
    BarSpace, BarSpec, Capability, DeviceBus, FunctionSpec, Identity, InterruptMode, MsiSpec, PciFunction,
    PciModel, ResetKind,
};

/// Bytes of BAR 0.
const BAR_SIZE: u64 = 1 << 20;
/// Bytes of the DMA buffer.
const BUFFER_SIZE: usize = 4096;
/// Where registers begin that take 8 bytes as well.
const WIDE_REGISTERS: u64 = 0x80;

const ID: u64 = 0x00;
const LIVENESS: u64 = 0x04;
const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const IRQ_STATUS: u64 = 0x24;
const IRQ_RAISE: u64 = 0x60;
const IRQ_ACK: u64 = 0x64;
const DMA_SOURCE: u64 = 0x80;
const DMA_DESTINATION: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;

const IDENTIFICATION: u64 = 0x0100_00ed;
const STATUS_IRQ: u32 = 0x80;
const FACTORIAL_DONE: u32 = 0x1;

/// Describes an `edu`.
#[derive(Debug, Clone)]
pub struct EduConfig {
    /// Name for messages and faults, such as `0000:06:0d.0`.
    pub name: String,
    /// Which function it claims to be; QEMU's is 1234:11e8.
    pub identity: Identity,
    /// The device has more than one function.
    pub multifunction: bool,
    /// Bits of a bus address that the device can drive.
    pub dma_mask: u64,
}

impl EduConfig {
    /// Describes QEMU's device.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            identity: Identity {
                vendor: 0x1234,
                device: 0x11e8,
                subsystem_vendor: 0x1af4,
                subsystem: 0x1100,
                revision: 0x10,
                class: 0x00_ff00,
            },
            multifunction: false,
            dma_mask: (1 << 28) - 1,
        }
    }
}

/// Emulates the device behind its function.
pub struct Edu {
    /// A weak reference to the model, for answers that come later.
    this: Weak<Self>,
    bus: DeviceBus,
    dma_mask: u64,
    registers: Mutex<Registers>,
}

#[derive(Debug)]
struct Registers {
    liveness: u32,
    factorial: u32,
    status: u32,
    irq_status: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    /// Counts DMAs and resets, so that the answer to a DMA that a reset cut short is not taken for another's.
    generation: u64,
    buffer: Box<[u8; BUFFER_SIZE]>,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            liveness: 0,
            factorial: 0,
            status: 0,
            irq_status: 0,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            generation: 0,
            buffer: Box::new([0; BUFFER_SIZE]),
        }
    }
}

impl Edu {
    /// Makes a function with the device behind it.
    ///
    /// # Errors
    /// `EINVAL` the identity makes no sense.
    pub fn function(config: EduConfig) -> Result<Arc<PciFunction>, Errno> {
        let mut spec = FunctionSpec::new(config.name, config.identity);
        spec.multifunction = config.multifunction;
        spec.interrupt_pin = 1;
        spec.bars[0] = Some(BarSpec::model(BAR_SIZE, BarSpace::Memory32));
        let msi = MsiSpec { vectors: 1, wide: true, maskable: false };
        spec.capabilities.push(Capability::msi(msi).at(0x40));
        let dma_mask = config.dma_mask;
        PciFunction::new(spec, |bus| {
            Arc::new_cyclic(|this| Self { this: this.clone(), bus, dma_mask, registers: Mutex::default() })
        })
    }

    fn read_register(&self, offset: u64) -> u64 {
        let registers = self.registers.lock();
        match offset {
            ID => IDENTIFICATION,
            LIVENESS => u64::from(registers.liveness),
            FACTORIAL => u64::from(registers.factorial),
            STATUS => u64::from(registers.status),
            IRQ_STATUS => u64::from(registers.irq_status),
            DMA_SOURCE => registers.source,
            DMA_DESTINATION => registers.destination,
            DMA_COUNT => registers.count,
            DMA_COMMAND => registers.command,
            _ => u64::MAX,
        }
    }

    fn write_register(&self, offset: u64, value: u64) {
        let word = value as u32;
        match offset {
            LIVENESS => self.registers.lock().liveness = !word,
            FACTORIAL => {
                let interrupt = {
                    let mut registers = self.registers.lock();
                    registers.factorial = factorial(word);
                    registers.status & STATUS_IRQ != 0
                };
                if interrupt {
                    self.raise(FACTORIAL_DONE);
                }
            }
            STATUS => self.registers.lock().status = word & STATUS_IRQ,
            IRQ_RAISE => self.raise(word),
            IRQ_ACK => self.acknowledge(word),
            DMA_SOURCE | DMA_DESTINATION | DMA_COUNT => self.set_dma_register(offset, value),
            DMA_COMMAND => self.run_dma(value),
            _ => {}
        }
    }

    fn raise(&self, bits: u32) {
        let pending = {
            let mut registers = self.registers.lock();
            registers.irq_status |= bits;
            registers.irq_status
        };
        if pending == 0 {
            return;
        }
        if self.bus.interrupt_mode() == InterruptMode::Msi {
            // The one vector that there is; without it the function is gone.
            let _ = self.bus.msi(0);
        } else {
            self.bus.intx(true);
        }
    }

    fn acknowledge(&self, bits: u32) {
        let pending = {
            let mut registers = self.registers.lock();
            registers.irq_status &= !bits;
            registers.irq_status
        };
        if pending == 0 && self.bus.interrupt_mode() != InterruptMode::Msi {
            self.bus.intx(false);
        }
    }
}

/// Returns n! modulo 2^32, which is 0 from 34 on: 2^32 divides it.
fn factorial(n: u32) -> u32 {
    if n >= 34 { 0 } else { (1..=n).fold(1, u32::wrapping_mul) }
}

impl PciModel for Edu {
    fn bar_read(&self, _bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        match into.len() {
            4 => into.copy_from_slice(&(self.read_register(offset) as u32).to_le_bytes()),
            8 if offset >= WIDE_REGISTERS => into.copy_from_slice(&self.read_register(offset).to_le_bytes()),
            8 => into.fill(0xff),
            _ => into.fill(0),
        }
        Ok(())
    }

    fn bar_write(&self, _bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mut bytes = [0; 8];
        match from.len() {
            4 => bytes[..4].copy_from_slice(from),
            8 if offset >= WIDE_REGISTERS => bytes.copy_from_slice(from),
            _ => return Ok(()),
        }
        self.write_register(offset, u64::from_le_bytes(bytes));
        Ok(())
    }

    fn reset(&self, _kind: ResetKind) {
        let mut registers = self.registers.lock();
        let generation = registers.generation + 1;
        *registers = Registers { generation, ..Registers::default() };
    }
}
