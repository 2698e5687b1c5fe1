//! `NativeRegisteredMemory`: what a process has registered.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::spapr::{RegionId, Registered, Registration};
use vfio_memory::AddressSpace;
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles;
use crate::numbers::u64;

/// The registered memory of one process; every instance for the same process is the same.
#[napi]
pub struct NativeRegisteredMemory {
    mm: Arc<AddressSpace>,
    memory: Arc<Registered>,
}

impl RefUnwindSafe for NativeRegisteredMemory {}

/// What became of a registration.
#[napi(object, object_from_js = false)]
pub struct RegistrationMade {
    /// The region.
    pub region: Option<BigInt>,
    /// Pages that were found before one was missing.
    pub partial: f64,
}

#[napi]
impl NativeRegisteredMemory {
    /// Takes the memory of a process.
    #[napi(constructor, catch_unwind)]
    pub fn new(mm: u32) -> Result<Self> {
        let object = handles::get(mm).map_err(throw)?;
        let mm = object.address_space().map_err(throw)?.clone();
        Ok(Self { memory: Registered::of(&mm), mm })
    }

    /// Finds the region of exactly that start and length.
    #[napi(catch_unwind)]
    pub fn find(&self, vaddr: BigInt, size: BigInt) -> Result<Option<BigInt>> {
        let region = self.memory.find(u64(&vaddr, "vaddr")?, u64(&size, "size")?);
        Ok(region.map(|RegionId(id)| id.into()))
    }

    /// Pins and charges a range and makes it a region with one holder.
    #[napi(catch_unwind)]
    pub fn register(&self, vaddr: BigInt, size: BigInt) -> Result<RegistrationMade> {
        let made = self.memory.register(&self.mm, u64(&vaddr, "vaddr")?, u64(&size, "size")?);
        Ok(match made.map_err(throw)? {
            Registration::Made(RegionId(id)) => RegistrationMade { region: Some(id.into()), partial: 0.0 },
            Registration::Partial(pages) => RegistrationMade { region: None, partial: pages as f64 },
        })
    }

    /// Adds a holder.
    #[napi(catch_unwind)]
    pub fn hold(&self, region: BigInt) -> Result<()> {
        self.memory.get(RegionId(u64(&region, "region")?)).map_err(throw)
    }

    /// Takes a holder off; tells whether the region is in order: false where entries outlive its last holder.
    #[napi(catch_unwind)]
    pub fn release(&self, region: BigInt, keeps_orphans: bool) -> Result<bool> {
        match self.memory.put(&self.mm, RegionId(u64(&region, "region")?), keeps_orphans) {
            Ok(()) => Ok(true),
            Err(Errno::EBUSY) => Ok(false),
            Err(errno) => Err(throw(errno)),
        }
    }

    /// Counts the regions.
    #[napi(catch_unwind)]
    pub fn regions(&self) -> Result<u32> {
        Ok(u32::try_from(self.memory.len()).unwrap_or(u32::MAX))
    }

    /// Counts the memory objects that have pinned pages.
    #[napi(catch_unwind)]
    pub fn pinned_objects(&self) -> Result<u32> {
        Ok(u32::try_from(self.memory.real().pinned_objects()).unwrap_or(u32::MAX))
    }
}
