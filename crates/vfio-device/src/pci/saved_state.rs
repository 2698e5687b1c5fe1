//! A function's state as the host saves and restores it around resets and sleep.

use super::config_space::ConfigSpace;
use super::function::PciFunction;
use super::msix_table::MsixTable;
use super::registers::{COMMAND, EXP_DEVCTL, EXP_DEVCTL2, EXP_LNKCTL, HEADER_SIZE};

/// Holds the registers that the host restores: the header, control registers of PCI Express, MSI and MSI-X.
#[derive(Debug, Clone)]
pub struct SavedState {
    config: ConfigSpace,
    msix: Option<MsixTable>,
}

impl PciFunction {
    /// Saves the function's state.
    #[must_use]
    pub fn save(&self) -> SavedState {
        let state = self.state.lock();
        SavedState { config: state.config.clone(), msix: state.msix.clone() }
    }
}

impl SavedState {
    /// Writes the saved registers back, the command register last. The power state stays as it is.
    pub fn restore(&self, function: &PciFunction) {
        let mut aftermath = {
            let mut state = function.state.lock();
            if let Some(at) = function.caps.express {
                for register in [EXP_DEVCTL, EXP_LNKCTL, EXP_DEVCTL2] {
                    state.config.restore_writable(&self.config, at + register, 2);
                }
            }
            if let Some(at) = function.caps.msi {
                state.config.restore_writable(&self.config, at, function.caps.len_of(at));
            }
            if let Some(at) = function.caps.msix {
                state.config.restore_writable(&self.config, at, 4);
            }
            if let Some(table) = &self.msix {
                state.msix = Some(table.clone());
            }
            for dword in (0..HEADER_SIZE as u16).step_by(4).rev() {
                state.config.restore_writable(&self.config, dword, 4);
            }
            function.settle(&mut state)
        };
        aftermath.written = Some((COMMAND, 2));
        aftermath.run(function);
    }
}
