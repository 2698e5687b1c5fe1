//! The sPAPR IOMMU: windows, registered memory, endpoints.

mod endpoint;
mod registered;
mod tce_table;

pub(crate) use tce_table::NativeTceTable;
