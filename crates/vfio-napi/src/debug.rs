//! What tells which addon this is, and a way to prove that a panic becomes an exception.

use napi_derive::napi;

use crate::errno::Result;

/// Panics.
#[napi(catch_unwind)]
pub fn debug_panic(message: String) -> Result<()> {
    panic!("{message}")
}

/// Returns the version of the addon.
#[napi(catch_unwind)]
pub fn addon_version() -> Result<&'static str> {
    Ok(env!("CARGO_PKG_VERSION"))
}
