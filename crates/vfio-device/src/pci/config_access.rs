//! Access to a function's configuration space from the bus, and changes that the function makes itself.

use super::aftermath::Aftermath;
use super::function::{PciFunction, PowerState, State};
use super::registers::{
    AF_CAP, AF_CAP_FLR, AF_CTRL, AF_CTRL_FLR, COMMAND, COMMAND_INTX_DISABLE, EXP_DEVCAP, EXP_DEVCAP_FLR,
    EXP_DEVCTL, EXP_DEVCTL_FLR, PM_CAPS, PM_CAPS_D1, PM_CAPS_D2, PM_CTRL, PM_CTRL_NO_SOFT_RESET,
    PM_CTRL_STATE,
};
use super::reset::ResetKind;

impl PciFunction {
    /// Returns the bytes of configuration space: 256 or 4096.
    #[must_use]
    pub fn config_size(&self) -> usize {
        self.pristine.size()
    }

    /// Reads configuration space as the host does; all ones beyond its end.
    pub fn config_read(&self, offset: u16, into: &mut [u8]) {
        self.state.lock().config.read(offset, into);
    }

    /// Reads a byte of configuration space.
    #[must_use]
    pub fn config_u8(&self, offset: u16) -> u8 {
        self.state.lock().config.u8(offset)
    }

    /// Reads two bytes of configuration space.
    #[must_use]
    pub fn config_u16(&self, offset: u16) -> u16 {
        self.state.lock().config.u16(offset)
    }

    /// Reads four bytes of configuration space.
    #[must_use]
    pub fn config_u32(&self, offset: u16) -> u32 {
        self.state.lock().config.u32(offset)
    }

    /// Writes configuration space as the host does, and runs what follows from it.
    pub fn config_write(&self, offset: u16, from: &[u8]) {
        self.write_config(offset, from).run(self);
    }

    /// Writes configuration space as the host does; what follows from it is the caller's to run.
    pub fn write_config(&self, offset: u16, from: &[u8]) -> Aftermath {
        let mut state = self.state.lock();
        let power = self.power_of(&state.config);
        state.config.write(offset, from);
        let reset = self.act_on(&mut state, offset, from, power);
        let mut aftermath = self.settle(&mut state);
        aftermath.reset = reset;
        aftermath.written = Some((offset, from.len()));
        aftermath
    }

    /// Changes registers as the function itself does, whatever the write masks say.
    pub(super) fn set_config(&self, offset: u16, from: &[u8]) -> Aftermath {
        let mut state = self.state.lock();
        state.config.set(offset, from);
        self.settle(&mut state)
    }

    /// Sets or clears the bit that holds the interrupt line down. The model is not told: it is none of its business.
    pub fn hold_line(&self, down: bool) -> Aftermath {
        let mut state = self.state.lock();
        let command = state.config.u16(COMMAND) & !COMMAND_INTX_DISABLE;
        let command = if down { command | COMMAND_INTX_DISABLE } else { command };
        state.config.write(COMMAND, &command.to_le_bytes());
        self.settle(&mut state)
    }

    /// Does what a write makes the function itself do beside keeping the bits: power transitions and resets.
    fn act_on(&self, state: &mut State, offset: u16, from: &[u8], power: PowerState) -> Option<ResetKind> {
        let reaches = |at: u16| offset <= at && usize::from(at - offset) < from.len();
        if let Some(at) = self.caps.power
            && reaches(at + PM_CTRL)
            && self.change_power(state, at, power)
        {
            self.reset_registers(state);
            return Some(ResetKind::Power);
        }
        if let Some(at) = self.caps.express
            && reaches(at + EXP_DEVCTL + 1)
        {
            let control = from[usize::from(at + EXP_DEVCTL + 1 - offset)];
            if control & (EXP_DEVCTL_FLR >> 8) as u8 != 0
                && state.config.u32(at + EXP_DEVCAP) & EXP_DEVCAP_FLR != 0
            {
                self.reset_registers(state);
                return Some(ResetKind::Function);
            }
        }
        if let Some(at) = self.caps.advanced
            && reaches(at + AF_CTRL)
            && from[usize::from(at + AF_CTRL - offset)] & AF_CTRL_FLR != 0
            && state.config.u8(at + AF_CAP) & AF_CAP_FLR != 0
        {
            self.reset_registers(state);
            return Some(ResetKind::Function);
        }
        None
    }

    /// Accepts or refuses the power state just written; true when the transition resets the function.
    fn change_power(&self, state: &mut State, at: u16, before: PowerState) -> bool {
        let caps = state.config.u16(at + PM_CAPS);
        let control = state.config.u16(at + PM_CTRL);
        let wanted = PowerState::from_bits(control);
        let supported = match wanted {
            PowerState::D1 => caps & PM_CAPS_D1 != 0,
            PowerState::D2 => caps & PM_CAPS_D2 != 0,
            PowerState::D0 | PowerState::D3Hot => true,
        };
        if !supported || wanted != PowerState::D0 && wanted < before {
            state.config.set_bits(at + PM_CTRL, PM_CTRL_STATE, before.bits());
            return false;
        }
        before == PowerState::D3Hot && wanted == PowerState::D0 && control & PM_CTRL_NO_SOFT_RESET == 0
    }
}
