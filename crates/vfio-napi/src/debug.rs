//! A way to prove that a panic becomes an exception.

use napi_derive::napi;

use crate::errno::Result;

/// Panics.
#[napi(catch_unwind)]
pub fn debug_panic(message: String) -> Result<()> {
    panic!("{message}")
}
