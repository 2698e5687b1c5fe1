//! Functions to play against.

mod edu;
mod nvme;

pub use edu::{Edu, EduConfig};
pub use nvme::{Nvme, NvmeConfig};
