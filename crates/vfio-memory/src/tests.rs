//! Tests of this crate.

#[cfg(target_os = "linux")]
mod file_window;
mod memory;
mod model;
mod space;
