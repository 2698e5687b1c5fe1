//! The tables of an sPAPR IOMMU: translation control entries, and the memory that they may lead to.
//!
//! A [`TceTable`] is one DMA window: entries of 64 bits, big endian, in as many levels as the platform has. Groups
//! of one container share tables; what one group's devices see is its [`Endpoint`], with two slots for windows
//! and the two switches by which hardware isolates it. Entries hold *real* addresses, as on the machine: each
//! process' pinned memory has some ([`RealMemory`]), on which the entry's page number is counted.
//!
//! Where entries lead is decided in two ways. `pinned` is version 1: each update looks its page up in the process
//! and pins it. `registered` is version 2: memory is registered beforehand ([`Registered`], shared by all containers
//! of a process), and an update only checks that its page lies in a registered range, which is what makes it fast.
//!
//! Windows, charges and who may register what are decided above; here is what happens per entry and per access.
//!
//! * `tce`: one entry. `radix`: where entries live. `table`: a window's entries. `pinned`, `registered`: updates.
//! * `real`: real addresses. `region`, `registry`: registered memory. `endpoint`, `space`: what devices see.
//!
//! Locks: that of the registry, then that of real memory, then a page table's. Devices take the endpoint's for
//! reading, for as long as an access lasts.

#![forbid(unsafe_code)]

mod endpoint;
mod pinned;
mod radix;
mod real;
mod region;
mod registered;
mod registry;
mod space;
mod table;
mod tce;

pub use endpoint::Endpoint;
pub use real::RealMemory;
pub use registry::{RegionId, Registered, Registration};
pub use table::{TceGeometry, TceTable};
pub use tce::Tce;

#[cfg(test)]
mod tests;
