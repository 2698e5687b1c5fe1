//! The interrupt line, and who hears of interrupts.

/// Hears of the interrupts of a function: the driver that claimed them. Called without any lock held.
pub trait InterruptSink: Send + Sync {
    /// The line is asserted and nobody holds it down. It stays so until the driver disables it at the function or masks
    /// it at the interrupt controller, or the function lets go.
    fn line_asserted(&self);

    /// Message `vector` arrived.
    fn message(&self, vector: u32);
}

/// Holds the state of the line between the function and the interrupt controller.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InterruptLine {
    /// The function wants attention.
    pub(super) level: bool,
    /// A driver has asked for the line's interrupts.
    pub(super) requested: bool,
    /// The interrupt controller ignores the line.
    pub(super) masked: bool,
    /// The driver has been told of the present assertion.
    told: bool,
}

impl InterruptLine {
    /// Looks at the line again after a change; true when the driver is to be told.
    pub(super) fn update(&mut self, held_down: bool) -> bool {
        let asserted = self.level && !held_down && self.requested && !self.masked;
        let tell = asserted && !self.told;
        self.told = asserted;
        tell
    }
}
