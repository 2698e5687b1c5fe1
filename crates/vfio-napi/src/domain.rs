//! `NativeDomain`: the mappings of a container, for another thread.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::type1::Type1;
use vfio_memory::{AddressSpace, Prot};
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::{self, Handle};
use crate::numbers::u64;
use crate::object::Object;
use crate::shared_objects;

/// A type1 IOMMU and the process that maps with it, which another thread owns.
#[napi]
pub struct NativeDomain {
    type1: Type1,
    space: Arc<AddressSpace>,
    /// Numbers of the IOMMU and of the address space.
    handles: RefCell<Option<(Handle, Handle)>>,
}

impl RefUnwindSafe for NativeDomain {}

#[napi]
impl NativeDomain {
    /// Leaves an IOMMU and an address space for another thread to adopt.
    #[napi(catch_unwind)]
    pub fn leave(type1: u32, mm: u32) -> Result<BigInt> {
        let (type1, mm) = (handles::get(type1).map_err(throw)?, handles::get(mm).map_err(throw)?);
        let type1 = type1.type1().map_err(throw)?.clone();
        Ok(shared_objects::share_domain(type1, Arc::clone(mm.address_space().map_err(throw)?)).into())
    }

    /// Takes what another thread left.
    #[napi(factory, catch_unwind)]
    pub fn adopt(token: BigInt) -> Result<Self> {
        let (type1, space) = shared_objects::adopt_domain(u64(&token, "token")?).map_err(throw)?;
        let handles = (
            Handle::new(Object::Type1(type1.clone())).map_err(throw)?,
            Handle::new(Object::AddressSpace(Arc::clone(&space))).map_err(throw)?,
        );
        Ok(Self { type1, space, handles: RefCell::new(Some(handles)) })
    }

    /// Returns the number of the IOMMU for raw calls; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn type1(&self) -> Result<u32> {
        Ok(self.handles.borrow().as_ref().map_or(0, |(type1, _)| type1.number()))
    }

    /// Returns the number of the address space for raw calls; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn mm(&self) -> Result<u32> {
        Ok(self.handles.borrow().as_ref().map_or(0, |(_, mm)| mm.number()))
    }

    /// Returns the number of mappings.
    #[napi(catch_unwind)]
    pub fn mappings(&self) -> Result<u32> {
        Ok(u32::try_from(self.type1.mapping_count()).unwrap_or(u32::MAX))
    }

    /// Gives memory an address in the process.
    #[napi(catch_unwind)]
    pub fn place(&self, memory: u32) -> Result<BigInt> {
        if self.handles.borrow().is_none() {
            return Err(throw(Errno::EBADF));
        }
        let object = handles::get(memory).map_err(throw)?;
        let memory = object.memory().map_err(throw)?;
        let len = memory.len();
        let address = self.space.map(None, 0, len, memory.clone(), 0, Prot::RW);
        Ok(address.map_err(throw)?.into())
    }

    /// Takes memory out of the process again.
    #[napi(catch_unwind)]
    pub fn displace(&self, address: BigInt, length: BigInt) -> Result<()> {
        self.space.unmap(u64(&address, "address")?, u64(&length, "length")?).map_err(throw)
    }

    /// Lets it go; the mappings stay.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.handles.borrow_mut().take();
        drop(closed);
        Ok(())
    }
}
