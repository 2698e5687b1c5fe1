//! Layouts of messages: the header, the commands, and the body of each.
//!
//! Everything here is a value read from bytes or written to them. Whether a value makes sense is decided by whoever
//! acts on it.

mod command;
mod dma;
mod feature;
mod fields;
mod header;
mod info;
mod irq;
mod region;

#[cfg(test)]
mod tests;

pub use command::Command;
pub use dma::{DmaCopy, DmaMap, DmaUnmap};
pub use feature::{FeatureBody, MigrationData};
pub use fields::{Fields, put_u16, put_u32, put_u64};
pub use header::{Header, Kind};
pub use info::{DeviceInfoBody, IrqInfoBody, RegionInfoBody};
pub use irq::SetIrqsBody;
pub use region::{IoEvent, MultiWrite, RegionAccess, RegionFdsBody};

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 16;
