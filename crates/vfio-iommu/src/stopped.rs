//! What hardware cuts a device off from after an error.

use bitflags::bitflags;

bitflags! {
    /// Says what a device is cut off from.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Stopped: u8 {
        /// Registers: reads give ones, writes are dropped.
        const IO = 1;
        /// Memory: its DMA is dropped, and so are its message interrupts.
        const DMA = 2;
    }
}
