//! Functions to play against.

mod dma_engine;
mod e1000e;
mod edu;
mod ioat;
mod nvme;
mod testdev;

pub use dma_engine::{DmaEngine, DmaEngineConfig};
pub use e1000e::{E1000e, E1000eConfig};
pub use edu::{Edu, EduConfig};
pub use ioat::{Ioat, IoatConfig};
pub use nvme::{Nvme, NvmeConfig};
pub use testdev::{Testdev, TestdevConfig};
