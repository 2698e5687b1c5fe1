//! What follows from a change to a function, to be done once its lock is released.

use super::function::PciFunction;
use super::reset::ResetKind;

/// Collects calls to the model and to the driver that a change brings about.
#[must_use = "the model and the driver hear of the change only when it is run"]
#[derive(Debug, Default)]
pub struct Aftermath {
    pub(super) line_asserted: bool,
    pub(super) messages: Vec<u32>,
    pub(super) written: Option<(u16, usize)>,
    pub(super) reset: Option<ResetKind>,
}

impl Aftermath {
    /// Adds what follows from another change.
    pub fn join(&mut self, other: Self) {
        self.line_asserted |= other.line_asserted;
        self.messages.extend(other.messages);
        self.written = other.written.or(self.written);
        self.reset = other.reset.or(self.reset);
    }

    /// Makes the calls. No lock that the model or the driver might want may be held.
    pub fn run(self, function: &PciFunction) {
        if let Some(kind) = self.reset {
            function.model().reset(kind);
        }
        if let Some((offset, len)) = self.written {
            function.model().config_written(offset, len);
        }
        if !self.line_asserted && self.messages.is_empty() {
            return;
        }
        let Some(sink) = function.sink() else { return };
        if self.line_asserted {
            sink.line_asserted();
        }
        for vector in self.messages {
            sink.message(vector);
        }
    }
}
