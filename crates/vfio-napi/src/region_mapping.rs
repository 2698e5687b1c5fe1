//! `NativeRegionMapping`: a part of a region in a program's address space.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;

use napi_derive::napi;
use vfio_device::ops::RegionMapping;
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::{self, Handle};
use crate::memory::{MemoryKind, NativeMemory};
use crate::object::Object;

/// A part of a region, mapped.
#[napi]
pub struct NativeRegionMapping {
    handle: RefCell<Option<Handle>>,
}

impl RefUnwindSafe for NativeRegionMapping {}

impl NativeRegionMapping {
    /// Wraps a mapping for JavaScript.
    pub(crate) fn wrap(mapping: RegionMapping) -> Result<Self> {
        let handle = Handle::new(Object::Mapping(mapping)).map_err(throw)?;
        Ok(Self { handle: RefCell::new(Some(handle)) })
    }

    fn with<T>(&self, work: impl FnOnce(&RegionMapping) -> T) -> Result<T> {
        let number = self.handle()?;
        let object = handles::get(number).map_err(|_| throw(Errno::EBADF))?;
        Ok(work(object.mapping().map_err(throw)?))
    }
}

#[napi]
impl NativeRegionMapping {
    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.handle.borrow().as_ref().map_or(0, Handle::number))
    }

    /// Returns the length in bytes.
    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> Result<f64> {
        self.with(|mapping| mapping.len() as f64)
    }

    /// Returns the memory behind it, where accesses reach nobody.
    #[napi(catch_unwind)]
    pub fn memory(&self) -> Result<Option<NativeMemory>> {
        let memory = self.with(|mapping| match mapping {
            RegionMapping::Memory { memory, .. } => Some(memory.clone()),
            RegionMapping::Trapped { .. } => None,
        })?;
        memory.map(|memory| NativeMemory::wrap(memory, MemoryKind::File)).transpose()
    }

    /// Returns where in that memory it begins.
    #[napi(getter, catch_unwind)]
    pub fn memory_offset(&self) -> Result<f64> {
        self.with(|mapping| match mapping {
            RegionMapping::Memory { offset, .. } => *offset as f64,
            RegionMapping::Trapped { .. } => 0.0,
        })
    }

    /// Unmaps.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.handle.borrow_mut().take();
        drop(closed);
        Ok(())
    }
}
