//! 64-bit values as they cross to macro methods: as bigints, without loss.

use napi::bindgen_prelude::BigInt;

use crate::errno::{Result, out_of_range};

/// Takes an unsigned 64-bit value.
pub(crate) fn u64(value: &BigInt, name: &str) -> Result<u64> {
    match value.get_u64() {
        (false, value, true) => Ok(value),
        _ => Err(out_of_range(name)),
    }
}
