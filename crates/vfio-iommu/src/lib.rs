//! What a DMA address means: I/O page tables, the pin ledger and the type1 domain.
//!
//! * [`DmaSpace`]: the device's view: read, write, atomics, faults.
//! * [`FaultLog`]: refused DMAs, explained.
//! * [`Ioas`](ioas::Ioas): the I/O address spaces of iommufd.
//! * [`IoPageTable`]: host memory by device address, for lock-free readers.
//! * [`Type1`](type1::Type1): the type1 IOMMU of a container.
//! * [`spapr`]: the tables of an sPAPR IOMMU.
//! * [`IovaRange`]: inclusive ranges of device addresses.
//!
//! Neighbours: `vfio-memory` below, `vfio-device` above.

mod addr;
mod epoch;
mod fault;
pub mod ioas;
mod page_table;
mod space;
pub mod spapr;
mod stopped;
pub mod type1;

pub use addr::{Iova, IovaRange};
pub use epoch::EpochCell;
pub use fault::{FaultContext, FaultListener, FaultLog, FaultRecord, MapChange, MapEvent, MapHistory};
pub use page_table::{Editor, IoPageTable, Reader};
pub use space::{Access, DmaFault, DmaSpace, FaultReason, REFUSED, ReadDone, Translation, WriteDone};
pub use stopped::Stopped;
