//! Functions to play against.

mod edu;

pub use edu::{Edu, EduConfig};
