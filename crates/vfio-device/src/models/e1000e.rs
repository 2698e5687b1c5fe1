//! `e1000e`, Intel's network card 8086:10d3 as a function of PCI Express, without its network.
//!
//! | BAR | space | bytes | behind it |
//! |---|---|---|---|
//! | 0 | memory, 32 bits | 128 KiB | registers: the control register at 0; others read as zero |
//! | 1 | memory, 32 bits | 128 KiB | flash: reads as zero |
//! | 2 | I/O | 32 | a window to the registers: address at 0, data at 4 |
//! | 3 | memory, 32 bits | 16 KiB | five MSI-X vectors: table at 0, pending bits at 0x2000 |
//!
//! It has power management (by which it is reset), MSI, PCI Express of version 1 without a reset of its own, MSI-X, and in
//! extended space error reporting and a serial number. Nothing is sent, nothing arrives, and it never interrupts.

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use crate::pci::registers::{AER_COR_MASK, AER_UNCOR_SEVERITY, CAP_ID_EXPRESS, EXT_CAP_ID_AER};
use crate::pci::{
    BarSpace, BarSpec, Capability, ExtendedCapability, FunctionSpec, Identity, MsiSpec, MsixSpec,
    PciFunction, PciModel, PowerSpec, ResetKind,
};

/// Bytes of BAR 0.
const REGISTERS_SIZE: u64 = 0x2_0000;
/// Bytes of BAR 1.
const FLASH_SIZE: u64 = 0x2_0000;
/// Bytes of BAR 2.
const PORTS_SIZE: u64 = 0x20;
/// Bytes of BAR 3.
const MSIX_SIZE: u64 = 0x4000;
/// BAR with the registers.
const REGISTERS: u8 = 0;
/// BAR with the window to the registers.
const PORTS: u8 = 2;
/// Port that holds the address of a register.
const PORT_ADDRESS: u64 = 0;
/// Port that reaches the register.
const PORT_DATA: u64 = 4;

/// The control register after a reset: full duplex, link up, speed 1000 and so chosen.
const CONTROL: u32 = 0x0014_0241;
/// Control: reset the device, which clears the bit.
const CONTROL_RESET: u32 = 1 << 26;

/// Describes an `e1000e`.
#[derive(Debug, Clone)]
pub struct E1000eConfig {
    /// Name for messages and faults, such as `0000:02:00.0`.
    pub name: String,
    /// Which function it claims to be; Intel's is 8086:10d3.
    pub identity: Identity,
    /// Its hardware address, of which the serial number is made.
    pub address: [u8; 6],
}

impl E1000eConfig {
    /// Describes the card as QEMU has it.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            identity: Identity {
                vendor: 0x8086,
                device: 0x10d3,
                subsystem_vendor: 0x8086,
                subsystem: 0x0000,
                revision: 0,
                class: 0x02_0000,
            },
            address: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
        }
    }

    fn function_spec(&self) -> FunctionSpec {
        let mut spec = FunctionSpec::new(self.name.clone(), self.identity);
        spec.interrupt_pin = 1;
        spec.bars[0] = Some(BarSpec::model(REGISTERS_SIZE, BarSpace::Memory32));
        spec.bars[1] = Some(BarSpec::model(FLASH_SIZE, BarSpace::Memory32));
        spec.bars[2] = Some(BarSpec::model(PORTS_SIZE, BarSpace::Io));
        spec.bars[3] = Some(BarSpec::model(MSIX_SIZE, BarSpace::Memory32));
        let power = PowerSpec { capabilities: 0x0022, no_soft_reset: false, control_writable: 0x1f00 };
        let msix = MsixSpec { vectors: 5, table_bar: 3, table_offset: 0, pba_bar: 3, pba_offset: 0x2000 };
        spec.capabilities = vec![
            Capability::power(power).at(0xc8),
            Capability::msi(MsiSpec { vectors: 1, wide: true, maskable: false }).at(0xd0),
            express().at(0xe0),
            Capability::msix(msix).at(0xa0),
        ];
        spec.extended_config = true;
        spec.extended_capabilities =
            vec![error_reporting().at(0x100), ExtendedCapability::serial_number(self.serial()).at(0x140)];
        spec
    }

    /// Returns the hardware address as an EUI-64.
    fn serial(&self) -> u64 {
        let [a, b, c, d, e, f] = self.address;
        u64::from_be_bytes([a, b, c, 0xff, 0xfe, d, e, f])
    }
}

/// Makes a PCI Express capability of version 1: an endpoint with a link of one lane, and nothing that can be changed.
fn express() -> Capability {
    let mut body = [0; 18];
    body[0] = 0x01;
    body[2..6].copy_from_slice(&0x0000_8020u32.to_le_bytes());
    body[10..14].copy_from_slice(&0x0000_0411u32.to_le_bytes());
    body[16] = 0x11;
    Capability::raw(CAP_ID_EXPRESS, &body)
}

/// Makes a capability for error reporting, which nothing is ever reported through.
fn error_reporting() -> ExtendedCapability {
    const BODY: usize = 0x3c;
    const HEADER: u16 = 4;
    let mut body = [0; BODY];
    let mut put = |at: u16, value: u32| {
        let at = usize::from(at - HEADER);
        body[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(AER_UNCOR_SEVERITY, 0x0046_2030);
    put(AER_COR_MASK, 0x0000_e000);
    ExtendedCapability::raw(EXT_CAP_ID_AER, 2, &body)
}

/// Emulates the device behind its function.
#[derive(Debug)]
pub struct E1000e(Mutex<Registers>);

#[derive(Debug)]
struct Registers {
    control: u32,
    /// Register that the window shows.
    window: u32,
}

impl Default for Registers {
    fn default() -> Self {
        Self { control: CONTROL, window: 0 }
    }
}

impl Registers {
    fn read(&self, bar: u8, offset: u64) -> u32 {
        match (bar, offset) {
            (REGISTERS, 0) => self.control,
            (PORTS, PORT_ADDRESS) => self.window,
            (PORTS, PORT_DATA) => self.read(REGISTERS, u64::from(self.window)),
            _ => 0,
        }
    }

    fn write(&mut self, bar: u8, offset: u64, value: u32) {
        match (bar, offset) {
            (REGISTERS, 0) if value & CONTROL_RESET != 0 => *self = Self::default(),
            (REGISTERS, 0) => self.control = value,
            (PORTS, PORT_ADDRESS) => self.window = value,
            (PORTS, PORT_DATA) => self.write(REGISTERS, u64::from(self.window), value),
            _ => {}
        }
    }
}

impl E1000e {
    /// Makes a function with the device behind it.
    ///
    /// # Errors
    /// `EINVAL` the identity makes no sense.
    pub fn function(config: E1000eConfig) -> Result<Arc<PciFunction>, Errno> {
        PciFunction::new(config.function_spec(), |_bus| Arc::new(Self(Mutex::default())))
    }
}

impl PciModel for E1000e {
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let registers = self.0.lock();
        for (byte, at) in into.iter_mut().zip(offset..) {
            *byte = registers.read(bar, at & !3).to_le_bytes()[(at & 3) as usize];
        }
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mut registers = self.0.lock();
        if offset.is_multiple_of(4) {
            for (at, bytes) in (offset..).step_by(4).zip(from.chunks_exact(4)) {
                registers.write(bar, at, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
        }
        Ok(())
    }

    fn reset(&self, _kind: ResetKind) {
        *self.0.lock() = Registers::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::ResetMethod;
    use crate::pci::registers::{COMMAND, COMMAND_IO, COMMAND_MEMORY};

    fn card() -> Arc<PciFunction> {
        let function = E1000e::function(E1000eConfig::new("nic")).expect("the description makes sense");
        function.config_write(COMMAND, &(COMMAND_MEMORY | COMMAND_IO).to_le_bytes());
        function
    }

    fn read(function: &PciFunction, bar: u8, offset: u64) -> u32 {
        let mut word = [0; 4];
        function.bar_read(bar, offset, &mut word).expect("inside");
        u32::from_le_bytes(word)
    }

    #[test]
    fn shows_itself_as_the_recorded_function() {
        let function = card();
        let config = |at| function.config_u32(at);
        assert_eq!([0x00, 0x08, 0x2c, 0x34].map(config), [0x10d3_8086, 0x0200_0000, 0x0000_8086, 0xc8]);
        assert_eq!([0xa0, 0xa4, 0xa8].map(config), [0x0004_0011, 0x3, 0x2003]);
        assert_eq!([0xc8, 0xd0, 0xe0, 0xe4].map(config), [0x0022_d001, 0x0080_e005, 0x0001_a010, 0x8020]);
        assert_eq!([0xec, 0xf0, 0x100, 0x140].map(config), [0x411, 0x0011_0000, 0x1402_0001, 0x0001_0003]);
        function.config_write(0x10, &[0xff; 24]);
        let bars = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(config);
        assert_eq!(bars, [0xfffe_0000, 0xfffe_0000, 0xffff_ffe1, 0xffff_c000, 0, 0]);
        assert_eq!(function.reset_method(), Some(ResetMethod::Power));
    }

    #[test]
    fn has_a_control_register_that_a_reset_puts_back() {
        let function = card();
        assert_eq!(read(&function, 0, 0), CONTROL);
        function.bar_write(2, 0, &[0; 4]).expect("inside");
        function.bar_write(2, 4, &1u32.to_le_bytes()).expect("inside");
        assert_eq!((read(&function, 0, 0), read(&function, 2, 4)), (1, 1));
        function.bar_write(0, 0, &CONTROL_RESET.to_le_bytes()).expect("inside");
        assert_eq!(read(&function, 0, 0), CONTROL);
        function.bar_write(0, 0, &[0; 4]).expect("inside");
        function.try_reset().expect("there is a way");
        assert_eq!(read(&function, 0, 0), CONTROL);
    }
}
