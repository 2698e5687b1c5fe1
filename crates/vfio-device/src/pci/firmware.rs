//! What firmware does with a function at boot: it places BARs and notes where the interrupt line leads.

use vfio_uapi::Errno;

use super::bar::BarSpace;
use super::function::PciFunction;
use super::registers::{
    BAR_COUNT, BAR0, COMMAND, COMMAND_IO, COMMAND_MEMORY, COMMAND_SERR, INTERRUPT_LINE, ROM_BAR,
};

/// Says where firmware puts a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarAddress {
    /// 0 to 5; 6 is the ROM.
    pub bar: u8,
    /// Bus address, a multiple of the BAR's size.
    pub address: u64,
}

/// Describes a BAR as firmware assigned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarResource {
    /// Bus address; 0: not assigned.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// In which space, and how wide.
    pub space: BarSpace,
    /// Reads have no side effects.
    pub prefetchable: bool,
}

impl PciFunction {
    /// Returns a BAR as firmware assigned it.
    #[must_use]
    pub fn resource(&self, index: usize) -> Option<BarResource> {
        let bar = self.bar(index)?;
        let start = self.state.lock().assigned[index];
        Some(BarResource { start, len: bar.size, space: bar.space, prefetchable: bar.prefetchable })
    }

    /// Returns where firmware put the expansion ROM; 0: nowhere.
    #[must_use]
    pub fn rom_address(&self) -> u64 {
        self.state.lock().assigned[BAR_COUNT]
    }

    /// Does what firmware does at boot: places BARs, notes the interrupt line, lets the function answer.
    ///
    /// # Errors
    /// `EINVAL` there is no such BAR, or the address is 0, not a multiple of its size or too wide; nothing changes then.
    pub fn assign(&self, addresses: &[BarAddress], interrupt_line: u8) -> Result<(), Errno> {
        for BarAddress { bar, address } in addresses {
            let index = usize::from(*bar);
            let (size, wide) = match (self.bar(index), self.rom()) {
                (Some(bar), _) => (bar.size, bar.space == BarSpace::Memory64),
                (None, Some(rom)) if index == BAR_COUNT => (u64::from(rom.size), false),
                _ => return Err(Errno::EINVAL),
            };
            let last = address.checked_add(size - 1).ok_or(Errno::EINVAL)?;
            if *address == 0 || address % size != 0 || !wide && last > u64::from(u32::MAX) {
                return Err(Errno::EINVAL);
            }
        }
        let aftermath = {
            let mut state = self.state.lock();
            for BarAddress { bar, address } in addresses {
                let index = usize::from(*bar);
                state.assigned[index] = *address;
                let register = if index == BAR_COUNT { ROM_BAR } else { BAR0 + 4 * u16::from(*bar) };
                state.config.write(register, &(*address as u32).to_le_bytes());
                if self.bar(index).is_some_and(|bar| bar.space == BarSpace::Memory64) {
                    state.config.write(register + 4, &((address >> 32) as u32).to_le_bytes());
                }
            }
            state.config.write(INTERRUPT_LINE, &[interrupt_line]);
            let command = COMMAND_IO | COMMAND_MEMORY | COMMAND_SERR;
            state.config.write(COMMAND, &command.to_le_bytes());
            self.settle(&mut state)
        };
        aftermath.run(self);
        Ok(())
    }
}
