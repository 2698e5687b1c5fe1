//! The hardware's side of a PCI function.
//!
//! A [`PciFunction`] is made of a [`FunctionSpec`] (identity, BARs, capabilities) and a [`PciModel`] that answers what is
//! peculiar to the device. The function keeps configuration space as hardware does (which bits a write changes), decodes
//! BARs, drives the interrupt line, sends messages, gates DMA by the bus master bit and resets itself. What the operating
//! system does with a function before any driver sees it (saving and restoring its state around a reset) is here too:
//! [`SavedState`].
//!
//! Nothing here calls a model, a driver or an address space with a lock held: a change is decided under the lock, and what
//! follows from it is an [`Aftermath`], run after the lock is released.

mod aftermath;
mod bar;
mod bar_access;
mod bus;
mod capability;
mod config_access;
mod config_space;
mod dma_port;
mod firmware;
mod function;
mod interrupt;
mod message;
mod model;
mod msix_table;
mod pasid_port;
pub mod registers;
mod reset;
mod saved_state;
mod spec;
#[cfg(test)]
mod tests;

pub use aftermath::Aftermath;
pub use bar::{BarKind, BarSpace, BarSpec, Doorbell, MemoryWindow};
pub use bus::DeviceBus;
pub use capability::{Capability, ExpressSpec, ExtendedCapability, MsiSpec, MsixSpec, PowerSpec};
pub use config_space::ConfigSpace;
pub use dma_port::DmaPort;
pub use firmware::{BarAddress, BarResource};
pub use function::{InterruptMode, InterruptState, PciFunction, PowerState};
pub use interrupt::InterruptSink;
pub use model::PciModel;
pub use reset::{ResetKind, ResetMethod};
pub use saved_state::SavedState;
pub use spec::{FunctionSpec, Identity, RomSpec};
