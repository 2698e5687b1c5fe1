//! Refused DMAs, kept and explained.
//!
//! Every refusal becomes a [`FaultRecord`]: the device, the request, the reason, the mappings next to the
//! address, and what last mapped or unmapped it. The [`FaultLog`] keeps the latest of them, counts all, and
//! tells a listener. A [`MapHistory`] beside the table remembers its changes for that.

mod explain;
mod history;
mod log;

pub use history::{MapChange, MapEvent, MapHistory};
pub use log::{FaultListener, FaultLog};

use std::sync::Arc;

use crate::{DmaFault, IovaRange};

/// Says what an address space knew about an address when an access to it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultContext {
    /// The nearest mapping that begins at or below the address, which may contain it.
    pub below: Option<IovaRange>,
    /// The nearest mapping above the address.
    pub above: Option<IovaRange>,
    /// The last change that covered the address, as far as it is remembered.
    pub last_change: Option<MapEvent>,
}

/// Records one refused DMA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRecord {
    /// Number of the refusal in its log, from 1 on.
    pub sequence: u64,
    /// Name of the device.
    pub device: Arc<str>,
    /// What was refused, and why.
    pub fault: DmaFault,
    /// What the address space knew about the address.
    pub context: FaultContext,
}

#[cfg(test)]
mod tests;
