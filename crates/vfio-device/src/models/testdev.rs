//! `pci-testdev`, QEMU's function without purpose: what a function is that has BARs and nothing else.
//!
//! | BAR | space | bytes | behind it |
//! |---|---|---|---|
//! | 0 | memory, 32 bits | 4096 | registers: read as zero, take every write |
//! | 1 | I/O | 256 | the same |
//! | 2 | memory, 64 bits, prefetchable | [`TestdevConfig::memory`] | plain memory |
//!
//! It has no interrupt, no capability and no reset. QEMU's lets a guest choose a test by its registers, of which there
//! are none here.

use std::sync::Arc;

use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::pci::{BarSpace, BarSpec, FunctionSpec, Identity, PciFunction, PciModel};

/// Bytes of BAR 0.
const REGISTERS_SIZE: u64 = 0x1000;
/// Bytes of BAR 1.
const PORTS_SIZE: u64 = 0x100;
/// Bytes of BAR 2 unless said otherwise.
const MEMORY_SIZE: u64 = 0x1_0000;

/// Describes a `pci-testdev`.
#[derive(Debug, Clone)]
pub struct TestdevConfig {
    /// Name for messages and faults, such as `0000:00:05.0`.
    pub name: String,
    /// Which function it claims to be; QEMU's is 1b36:0005.
    pub identity: Identity,
    /// What lies behind BAR 2; a power of two of bytes.
    pub memory: Memory,
}

impl TestdevConfig {
    /// Describes QEMU's device with 64 KiB of fresh memory.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(name: impl Into<String>) -> Result<Self, Errno> {
        Ok(Self {
            name: name.into(),
            identity: Identity {
                vendor: 0x1b36,
                device: 0x0005,
                subsystem_vendor: 0x1af4,
                subsystem: 0x1100,
                revision: 0,
                class: 0x00_ff00,
            },
            memory: Memory::anonymous(MEMORY_SIZE)?,
        })
    }
}

/// Emulates the device behind its function.
#[derive(Debug)]
pub struct Testdev;

impl Testdev {
    /// Makes a function with the device behind it.
    ///
    /// # Errors
    /// `EINVAL` the identity or the size of the memory makes no sense.
    pub fn function(config: TestdevConfig) -> Result<Arc<PciFunction>, Errno> {
        let mut spec = FunctionSpec::new(config.name, config.identity);
        spec.bars[0] = Some(BarSpec::model(REGISTERS_SIZE, BarSpace::Memory32));
        spec.bars[1] = Some(BarSpec::model(PORTS_SIZE, BarSpace::Io));
        let mut memory = BarSpec::memory(config.memory, BarSpace::Memory64);
        memory.prefetchable = true;
        spec.bars[2] = Some(memory);
        PciFunction::new(spec, |_bus| Arc::new(Self))
    }
}

impl PciModel for Testdev {
    fn bar_read(&self, _bar: u8, _offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        into.fill(0);
        Ok(())
    }

    fn bar_write(&self, _bar: u8, _offset: u64, _from: &[u8]) -> Result<(), Errno> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::registers::{CAPABILITY_LIST, COMMAND, COMMAND_MEMORY, STATUS, VENDOR_ID};

    #[test]
    fn shows_itself_as_the_recorded_function() {
        let function = Testdev::function(TestdevConfig::new("testdev").expect("memory")).expect("a function");
        assert_eq!(function.config_u32(VENDOR_ID), 0x0005_1b36);
        assert_eq!((function.config_u16(STATUS), function.config_u8(CAPABILITY_LIST)), (0, 0));
        function.config_write(0x10, &[0xff; 24]);
        let bars = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(|at| function.config_u32(at));
        assert_eq!(bars, [0xffff_f000, 0xffff_ff01, 0xffff_000c, 0xffff_ffff, 0, 0]);
        assert_eq!(function.reset_method(), None);
    }

    #[test]
    fn keeps_what_is_written_to_its_memory_only() {
        let function = Testdev::function(TestdevConfig::new("testdev").expect("memory")).expect("a function");
        function.config_write(COMMAND, &COMMAND_MEMORY.to_le_bytes());
        let mut word = [0; 4];
        for (bar, kept) in [(0, [0; 4]), (2, [1, 2, 3, 4])] {
            function.bar_write(bar, 0x40, &[1, 2, 3, 4]).expect("inside");
            function.bar_read(bar, 0x40, &mut word).expect("inside");
            assert_eq!(word, kept);
        }
    }
}
