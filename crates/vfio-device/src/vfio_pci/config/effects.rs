//! Consequences of a configuration write, run when the virtual registers are unlocked again.

use crate::pci::{Aftermath, PowerState};
use crate::vfio_pci::session::Session;

/// Names what the driver does because of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The user's bit that holds the interrupt line down has this value now.
    HoldLine(bool),
    /// Change the power state.
    Power(PowerState),
    /// Reset the function.
    Reset,
}

/// Collects the consequences of a write.
#[must_use = "a write has its consequences only when they are run"]
#[derive(Debug, Default)]
pub(super) struct Effects {
    aftermath: Aftermath,
    action: Option<Action>,
}

impl Effects {
    /// Makes the effects of a write that reached the hardware.
    pub(super) const fn hardware(aftermath: Aftermath) -> Self {
        Self { aftermath, action: None }
    }

    /// Adds what follows from another change of the hardware.
    pub(super) fn join(&mut self, aftermath: Aftermath) {
        self.aftermath.join(aftermath);
    }

    /// Adds what the driver does.
    pub(super) fn then(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Runs everything.
    pub(super) fn run(self, session: &Session) {
        self.aftermath.run(&session.function);
        match self.action {
            None => {}
            Some(Action::HoldLine(held)) => session.follow_line_bit(held),
            Some(Action::Power(state)) => session.set_power(state),
            // A function without a reset that works keeps its state, as the hardware's own bit would.
            Some(Action::Reset) => {
                let _ = session.function.try_reset();
            }
        }
    }
}
