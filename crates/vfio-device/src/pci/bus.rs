//! What a model can do: interrupt, reach memory, look at and change its own registers.

use std::sync::{Arc, Weak};

use vfio_uapi::Errno;

use super::dma_port::DmaPort;
use super::function::{InterruptMode, PciFunction};

/// Connects a model to its function. A clone is the same connection; once the function is gone every call is without
/// effect.
#[derive(Debug, Clone)]
pub struct DeviceBus(Weak<PciFunction>);

impl DeviceBus {
    pub(super) const fn new(function: Weak<PciFunction>) -> Self {
        Self(function)
    }

    /// Returns the function's DMA, which it may keep: every access is checked anew.
    #[must_use]
    pub fn dma(&self) -> Option<Arc<DmaPort>> {
        self.0.upgrade().map(|function| Arc::clone(function.dma()))
    }

    /// Sets the level of the interrupt line.
    pub fn intx(&self, level: bool) {
        self.intx_as(|| level);
    }

    /// Sets the level of the interrupt line to what `level` answers. It is asked with the function locked, so whoever of
    /// several threads is the last sets what is true then; it must not use the bus.
    pub fn intx_as(&self, level: impl FnOnce() -> bool) {
        if let Some(function) = self.0.upgrade() {
            function.set_line(level);
        }
    }

    /// Sends MSI `vector`: at once, when it is unmasked, or never if messages are disabled.
    ///
    /// # Errors
    /// `EINVAL` the function has no such vector; `ENODEV` it is gone.
    pub fn msi(&self, vector: u32) -> Result<(), Errno> {
        self.0.upgrade().ok_or(Errno::ENODEV)?.send_msi(vector)
    }

    /// Sends MSI-X `vector`: at once, when it is unmasked, or never if messages are disabled.
    ///
    /// # Errors
    /// `EINVAL` the function has no such vector; `ENODEV` it is gone.
    pub fn msix(&self, vector: u32) -> Result<(), Errno> {
        self.0.upgrade().ok_or(Errno::ENODEV)?.send_msix(vector)
    }

    /// Tells how the function is set up to interrupt.
    #[must_use]
    pub fn interrupt_mode(&self) -> InterruptMode {
        self.0.upgrade().map_or(InterruptMode::None, |function| function.interrupts().mode)
    }

    /// Reads the function's registers.
    pub fn config_read(&self, offset: u16, into: &mut [u8]) {
        match self.0.upgrade() {
            Some(function) => function.config_read(offset, into),
            None => into.fill(0xff),
        }
    }

    /// Changes the function's registers, read-only ones too.
    pub fn config_set(&self, offset: u16, from: &[u8]) {
        if let Some(function) = self.0.upgrade() {
            function.set_config(offset, from).run(&function);
        }
    }
}
