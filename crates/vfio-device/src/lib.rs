//! Devices: the device interface, regions, interrupts, PCI configuration space and models.
//!
//! * [`EventFd`]: the counter that an interrupt is delivered through.
//! * [`VfioDeviceOps`]: what the core asks of a device, with the types of requests and answers beside it ([`ops`]).
//! * [`pci`]: the hardware's side of a function: configuration space, BARs, interrupt line and messages, DMA, resets.
//! * [`vfio_pci`]: the driver's side: what a user of `vfio-pci` sees of such a function.
//! * [`models`]: functions to play against.
//!
//! Neighbours: `vfio-iommu` below (a device reaches memory through its
//! [`DmaSpace`](vfio_iommu::DmaSpace)), `vfio-napi` and `vfio-wire` above.
#![forbid(unsafe_code)]

mod eventfd;
#[cfg(test)]
mod mock;
pub mod models;
pub mod ops;
pub mod pci;
pub mod vfio_pci;

pub use eventfd::{Event, EventFd, Subscription};
pub use ops::VfioDeviceOps;
pub use vfio_pci::VfioPci;
