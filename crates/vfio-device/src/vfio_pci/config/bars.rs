//! Virtual base address registers: the user sizes and moves them, the hardware's stay where firmware put them.

use super::Chunk;
use super::map::VirtualConfig;
use crate::pci::registers::{
    BAR_64, BAR_COUNT, BAR_IO, BAR_PREFETCH, BAR0, COMMAND, COMMAND_INTX_DISABLE, ROM_BAR, ROM_ENABLE,
};
use crate::pci::{Aftermath, BarSpace};
use crate::vfio_pci::session::Session;

/// Tells whether an offset in the header lies in a BAR or the ROM BAR.
pub(super) fn is_bar(offset: usize) -> bool {
    let bars = usize::from(BAR0)..usize::from(BAR0) + 4 * BAR_COUNT;
    let rom = usize::from(ROM_BAR)..usize::from(ROM_BAR) + 4;
    bars.contains(&offset) || rom.contains(&offset)
}

impl VirtualConfig {
    /// Puts the bits of written BARs in order before one is read.
    pub(super) fn fix_bars_before(&mut self, session: &Session, chunk: Chunk) {
        if !is_bar(chunk.offset()) || !std::mem::take(&mut self.bars_dirty) {
            return;
        }
        let mut index = 0;
        while index < BAR_COUNT {
            let at = usize::from(BAR0) + 4 * index;
            index += 1;
            let Some(bar) = session.bar(index - 1) else {
                self.set_dword(at, 0);
                continue;
            };
            let mask = !(bar.len - 1);
            let flags = match bar.space {
                BarSpace::Io => BAR_IO,
                BarSpace::Memory32 => 0,
                BarSpace::Memory64 => BAR_64,
            } | if bar.prefetchable { BAR_PREFETCH } else { 0 };
            self.set_dword(at, self.dword(at) & mask as u32 | flags);
            if bar.space == BarSpace::Memory64 && index < BAR_COUNT {
                self.set_dword(at + 4, self.dword(at + 4) & (mask >> 32) as u32);
                index += 1;
            }
        }
        let rom = usize::from(ROM_BAR);
        let mask = session.rom_size.map_or(0, |size| !(size - 1) | ROM_ENABLE);
        self.set_dword(rom, self.dword(rom) & mask);
    }

    /// Tells whether the hardware lost its BARs: something reset it behind the driver's back.
    pub(super) fn bars_lost(&self, session: &Session) -> bool {
        let real = &self.real_bars[..BAR_COUNT];
        let registers = (BAR0..).step_by(4);
        real.iter().zip(registers).any(|(bar, at)| *bar != 0 && session.function.config_u32(at) != *bar)
    }

    /// Writes the hardware's BARs back.
    pub(super) fn restore_bars(&self, session: &Session) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let registers = (BAR0..).step_by(4).take(BAR_COUNT).chain([ROM_BAR]);
        for (bar, at) in self.real_bars.iter().zip(registers) {
            aftermath.join(session.function.write_config(at, &bar.to_le_bytes()));
        }
        if !session.has_pin() {
            let command = session.function.config_u16(COMMAND) | COMMAND_INTX_DISABLE;
            aftermath.join(session.function.write_config(COMMAND, &command.to_le_bytes()));
        }
        aftermath
    }
}
