//! What a DMA address means: I/O page tables, the pin ledger and the type1 domain.
//!
//! * [`DmaSpace`]: the device's view: read, write, atomics, faults.
//! * [`IovaRange`]: inclusive ranges of device addresses.
//!
//! Neighbours: `vfio-memory` below, `vfio-device` above.

mod addr;
mod space;

pub use addr::{Iova, IovaRange};
pub use space::{Access, DmaFault, DmaSpace, FaultReason, Translation};
