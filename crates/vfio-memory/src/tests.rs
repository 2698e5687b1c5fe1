//! Tests of this crate.

mod memory;
mod model;
mod space;
