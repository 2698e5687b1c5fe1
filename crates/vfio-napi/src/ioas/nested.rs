//! `NativeNestedTable`: a guest's page table on top of one of the host.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::ioas::{NestedFormat, NestedTable};

use super::NativeIoas;
use super::domain::NativePagingDomain;
use crate::errno::{Result, throw};
use crate::numbers::u64;

/// A guest's page table.
#[napi]
pub struct NativeNestedTable {
    pub(super) table: Arc<NestedTable>,
}

impl RefUnwindSafe for NativeNestedTable {}

#[napi]
impl NativeNestedTable {
    /// Takes a guest's table whose topmost page lies at `root`.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        root: BigInt,
        levels: u32,
        accessed_dirty: bool,
        parent: &NativePagingDomain,
        ioas: &NativeIoas,
    ) -> Result<Self> {
        let format = NestedFormat::new(u64(&root, "root")?, levels, accessed_dirty).map_err(throw)?;
        Ok(Self { table: NestedTable::new(format, &parent.domain, &ioas.ioas) })
    }

    /// Forgets what is remembered of pages.
    #[napi(catch_unwind)]
    pub fn invalidate(&self, iova: BigInt, npages: BigInt) -> Result<()> {
        self.table.invalidate(u64(&iova, "iova")?, u64(&npages, "npages")?).map_err(throw)
    }
}
