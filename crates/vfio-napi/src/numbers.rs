//! 64-bit values as they cross to macro methods: as bigints, without loss.

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::IovaRange;

use crate::errno::{Result, out_of_range};

/// Addresses from the first to the last, both included.
#[napi(object, object_from_js = false)]
pub struct Range {
    /// First address.
    pub start: BigInt,
    /// Last address.
    pub last: BigInt,
}

impl From<IovaRange> for Range {
    fn from(range: IovaRange) -> Self {
        Self { start: range.start().into(), last: range.last().into() }
    }
}

/// Takes an unsigned 64-bit value.
pub(crate) fn u64(value: &BigInt, name: &str) -> Result<u64> {
    match value.get_u64() {
        (false, value, true) => Ok(value),
        _ => Err(out_of_range(name)),
    }
}
