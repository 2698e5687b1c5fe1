//! `NativePagingDomain`: a page table that mirrors an address space.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::IovaRange;
use vfio_iommu::ioas::{DomainKind, PagingDomain};

use crate::errno::{Result, out_of_range};
use crate::numbers::u64;

/// A page table of hardware.
#[napi]
pub struct NativePagingDomain {
    pub(super) domain: Arc<PagingDomain>,
}

impl RefUnwindSafe for NativePagingDomain {}

#[napi]
impl NativePagingDomain {
    /// Makes a page table; one that only mirrors has no table behind it.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        mirror: bool,
        pgsizes: BigInt,
        aperture_start: BigInt,
        aperture_last: BigInt,
        tracks_dirty: bool,
    ) -> Result<Self> {
        let aperture =
            IovaRange::new(u64(&aperture_start, "apertureStart")?, u64(&aperture_last, "apertureLast")?);
        let aperture = aperture.ok_or_else(|| out_of_range("aperture"))?;
        let kind = if mirror { DomainKind::Mirror } else { DomainKind::Table };
        let domain = PagingDomain::new(kind, u64(&pgsizes, "pgsizes")?, aperture, tracks_dirty);
        Ok(Self { domain })
    }
}
