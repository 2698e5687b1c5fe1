//! Resets: what they do to the registers, and which of them a function has.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::aftermath::Aftermath;
use super::function::{PciFunction, PowerState, State};
use super::registers::{
    AF_CAP, AF_CAP_FLR, AF_CAP_TP, COMMAND, COMMAND_INTX_DISABLE, EXP_DEVCAP, EXP_DEVCAP_FLR, HEADER_SIZE,
    PM_CTRL, PM_CTRL_NO_SOFT_RESET, PM_CTRL_STATE,
};
use super::saved_state::SavedState;

/// Says what reset a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// The function alone, by its own means.
    Function,
    /// The function woke from D3hot.
    Power,
    /// The bus that it sits on.
    Bus,
}

/// Names a way to reset a function, the first in the order of preference being the one that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMethod {
    /// Function level reset of PCI Express.
    Express,
    /// Function level reset of conventional PCI.
    AdvancedFeatures,
    /// To D3hot and back.
    Power,
    /// Reset of the bus, on which the function is alone.
    Bus,
}

impl PciFunction {
    /// Returns the way by which the host resets the function, if there is any.
    #[must_use]
    pub fn reset_method(&self) -> Option<ResetMethod> {
        let state = self.state.lock();
        let config = &state.config;
        let express = self.caps.express.is_some_and(|at| config.u32(at + EXP_DEVCAP) & EXP_DEVCAP_FLR != 0);
        let advanced = self.caps.advanced.is_some_and(|at| {
            const NEEDED: u8 = AF_CAP_FLR | AF_CAP_TP;
            config.u8(at + AF_CAP) & NEEDED == NEEDED
        });
        let power = self.caps.power.is_some_and(|at| config.u16(at + PM_CTRL) & PM_CTRL_NO_SOFT_RESET == 0);
        [
            (express, ResetMethod::Express),
            (advanced, ResetMethod::AdvancedFeatures),
            (power, ResetMethod::Power),
            (state.bus_reset || state.alone, ResetMethod::Bus),
        ]
        .into_iter()
        .find_map(|(possible, method)| possible.then_some(method))
    }

    /// Resets the function as the host does: its state is saved and restored around the reset.
    ///
    /// # Errors
    /// `ENOTTY` the function has no reset.
    pub fn try_reset(&self) -> Result<(), Errno> {
        let kind = match self.reset_method().ok_or(Errno::ENOTTY)? {
            ResetMethod::Express | ResetMethod::AdvancedFeatures => ResetKind::Function,
            ResetMethod::Power => ResetKind::Power,
            ResetMethod::Bus => ResetKind::Bus,
        };
        let saved = self.quiesce();
        self.reset(kind);
        saved.restore(self);
        Ok(())
    }

    /// Does what the host does before a reset: wakes the function, saves its state, silences it.
    #[must_use]
    pub fn quiesce(&self) -> SavedState {
        self.set_power(PowerState::D0).unwrap_or_default().run(self);
        let saved = self.save();
        self.config_write(COMMAND, &COMMAND_INTX_DISABLE.to_le_bytes());
        saved
    }

    /// Resets registers and model, with nothing saved or restored.
    pub fn reset(&self, kind: ResetKind) {
        let mut aftermath = {
            let mut state = self.state.lock();
            self.reset_registers(&mut state);
            self.settle(&mut state)
        };
        aftermath.reset = Some(kind);
        aftermath.run(self);
    }

    /// Puts the registers of the header and of the capabilities that the hardware acts on back.
    pub(super) fn reset_registers(&self, state: &mut State) {
        state.config.restore_writable(&self.pristine, 0, HEADER_SIZE);
        for (at, len) in &self.caps.extents {
            state.config.restore_writable(&self.pristine, *at, *len);
        }
        if let Some(table) = &mut state.msix {
            table.reset();
        }
        state.line.level = false;
    }

    /// Changes the power state as the host does.
    ///
    /// # Errors
    /// `EIO` the function does not have that state; `EINVAL` a shallower sleep, which is reached through D0 only.
    pub fn set_power(&self, wanted: PowerState) -> Result<Aftermath, Errno> {
        let Some(at) = self.caps.power else {
            return if wanted == PowerState::D0 { Ok(Aftermath::default()) } else { Err(Errno::EIO) };
        };
        let before = self.power();
        if before == wanted {
            return Ok(Aftermath::default());
        }
        if wanted != PowerState::D0 && wanted < before {
            return Err(Errno::EINVAL);
        }
        let control = self.config_u16(at + PM_CTRL) & !PM_CTRL_STATE | wanted.bits();
        let aftermath = self.write_config(at + PM_CTRL, &control.to_le_bytes());
        if self.power() == wanted { Ok(aftermath) } else { Err(Errno::EIO) }
    }

    /// Resets several functions at once as the host does when it resets their bus.
    pub fn reset_bus(functions: &[Arc<Self>]) {
        let saved: Vec<SavedState> = functions.iter().map(|function| function.quiesce()).collect();
        functions.iter().for_each(|function| function.reset(ResetKind::Bus));
        for (function, saved) in functions.iter().zip(&saved) {
            saved.restore(function);
        }
    }
}
