//! Writes with consequences: the command register, and the capabilities whose registers the driver itself uses.

use super::Chunk;
use super::bars::is_bar;
use super::effects::{Action, Effects};
use super::map::VirtualConfig;
use super::perm::PermBits;
use crate::pci::PowerState;
use crate::pci::registers::{
    AF_CAP, AF_CAP_FLR, AF_CAP_TP, AF_CTRL, AF_CTRL_FLR, COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO,
    COMMAND_MEMORY, EXP_DEVCAP, EXP_DEVCAP_FLR, EXP_DEVCTL, EXP_DEVCTL_FLR, EXP_DEVCTL_PAYLOAD,
    EXP_DEVCTL_READRQ, MSI_FLAGS, MSI_FLAGS_ENABLE, MSI_FLAGS_QUEUE, PM_CTRL, VPD_ADDR, VPD_ADDR_FLAG,
    VPD_DATA,
};
use crate::vfio_pci::session::Session;

/// The largest read request of PCI Express, as the exponent in device control.
const READRQ_4096: u16 = 5;

impl VirtualConfig {
    /// Writes to the header.
    pub(super) fn write_header(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let command = usize::from(COMMAND);
        let mut restored = None;
        if chunk.pos == command {
            let wanted = u16::from_le_bytes([from[0], from.get(1).copied().unwrap_or(0)]);
            let (real, seen) = (session.function.config_u16(COMMAND), self.word(command));
            let lost = |bit: u16| wanted & seen & !real & bit != 0;
            if lost(COMMAND_MEMORY) || lost(COMMAND_IO) || self.bars_lost(session) {
                restored = Some(self.restore_bars(session));
            }
        }
        let mut effects = self.write_bits(session, chunk, bits, from);
        if let Some(aftermath) = restored {
            effects.join(aftermath);
        }
        if chunk.pos == command {
            let mask = COMMAND_MEMORY | COMMAND_IO;
            let wanted = u16::from(from[0]) & mask;
            self.set_word(command, self.word(command) & !mask | wanted);
            session.set_memory_enabled(wanted & COMMAND_MEMORY != 0);
        }
        if is_bar(chunk.pos) {
            self.bars_dirty = true;
        }
        if chunk.pos == command || chunk.pos == command + 1 {
            let held = self.word(command) & COMMAND_INTX_DISABLE != 0;
            return effects.then(Action::HoldLine(held));
        }
        effects
    }

    /// Writes to the power management capability: the state bits go through the driver.
    pub(super) fn write_power(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let effects = self.write_bits(session, chunk, bits, from);
        if chunk.offset() == usize::from(PM_CTRL) {
            return effects.then(Action::Power(PowerState::from_bits(u16::from(from[0]))));
        }
        effects
    }

    /// Writes to the VPD capability: a write of the address's upper byte makes the transfer.
    pub(super) fn write_vpd(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let effects = self.write_bits(session, chunk, bits, from);
        if !chunk.contains(usize::from(VPD_ADDR) + 1) {
            return effects;
        }
        let (address_at, data_at) =
            (chunk.start + usize::from(VPD_ADDR), chunk.start + usize::from(VPD_DATA));
        let address = self.word(address_at);
        let done = if address & VPD_ADDR_FLAG != 0 {
            session.function.vpd_write(address & !VPD_ADDR_FLAG, self.dword(data_at).to_le_bytes())
        } else {
            let data = session.function.vpd_read(address);
            if let Some(data) = data {
                self.set_dword(data_at, u32::from_le_bytes(data));
            }
            data.is_some()
        };
        // The flag flips when the transfer is made; one that fails never ends.
        if done {
            self.set_word(address_at, address ^ VPD_ADDR_FLAG);
        }
        effects
    }

    /// Writes to the PCI Express capability: resets and the read request size go through the driver.
    pub(super) fn write_express(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let control_at = chunk.start + usize::from(EXP_DEVCTL);
        let before = self.word(control_at) & EXP_DEVCTL_READRQ;
        let mut effects = self.write_bits(session, chunk, bits, from);
        let control = self.word(control_at);
        let mut reset = false;
        if control & EXP_DEVCTL_FLR != 0 {
            self.set_word(control_at, control & !EXP_DEVCTL_FLR);
            let caps = session.function.config_u32((chunk.start + usize::from(EXP_DEVCAP)) as u16);
            reset = caps & EXP_DEVCAP_FLR != 0;
        }
        if control & EXP_DEVCTL_READRQ != before {
            let real = session.function.config_u16(control_at as u16);
            let payload = (real & EXP_DEVCTL_PAYLOAD) >> 5;
            let request = ((control & EXP_DEVCTL_READRQ) >> 12).max(payload);
            if request <= READRQ_4096 {
                let real = real & !EXP_DEVCTL_READRQ | request << 12;
                effects.join(session.function.write_config(control_at as u16, &real.to_le_bytes()));
            }
        }
        if reset { effects.then(Action::Reset) } else { effects }
    }

    /// Writes to the advanced features capability: resets go through the driver.
    pub(super) fn write_advanced(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let effects = self.write_bits(session, chunk, bits, from);
        let control_at = chunk.start + usize::from(AF_CTRL);
        let control = self.word(control_at);
        if control & u16::from(AF_CTRL_FLR) == 0 {
            return effects;
        }
        self.set_word(control_at, control & !u16::from(AF_CTRL_FLR));
        let caps = session.function.config_u8((chunk.start + usize::from(AF_CAP)) as u16);
        if caps & AF_CAP_FLR != 0 && caps & AF_CAP_TP != 0 { effects.then(Action::Reset) } else { effects }
    }

    /// Writes to the MSI capability: the control register follows what `VFIO_DEVICE_SET_IRQS` enabled.
    pub(super) fn write_msi(
        &mut self,
        session: &Session,
        chunk: Chunk,
        bits: &PermBits,
        from: &[u8],
    ) -> Effects {
        let mut effects = self.write_bits(session, chunk, bits, from);
        if !chunk.contains(usize::from(MSI_FLAGS)) {
            return effects;
        }
        let flags_at = chunk.start + usize::from(MSI_FLAGS);
        let mut flags = self.word(flags_at);
        let (enabled, queue) = session.msi_state();
        if !enabled {
            flags &= !MSI_FLAGS_ENABLE;
        }
        if (flags & MSI_FLAGS_QUEUE) >> 4 > queue {
            flags = flags & !MSI_FLAGS_QUEUE | queue << 4;
        }
        self.set_word(flags_at, flags);
        effects.join(session.function.write_config(flags_at as u16, &flags.to_le_bytes()));
        effects
    }
}
