//! `NativeTceTable`: one DMA window.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::spapr::{TceGeometry, TceTable};
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::{self, Handle};
use crate::numbers::u64;
use crate::object::Object;

/// The entries of one window.
#[napi]
pub struct NativeTceTable {
    open: RefCell<Option<(Arc<TceTable>, Handle)>>,
}

impl RefUnwindSafe for NativeTceTable {}

/// Describes a window.
#[napi(object, object_to_js = false)]
pub struct WindowGeometry {
    /// First address.
    pub start: BigInt,
    /// Base-two logarithm of the page.
    pub page_shift: u32,
    /// Number of entries.
    pub entries: BigInt,
    /// Bits that each level decodes, from the top.
    pub level_bits: Vec<u32>,
    /// Entries lead to registered memory.
    pub registered: bool,
    /// Writable is readable, too.
    pub write_implies_read: bool,
}

impl NativeTceTable {
    /// Returns the table.
    pub(crate) fn table(&self) -> Result<Arc<TceTable>> {
        self.open.borrow().as_ref().map(|(table, _)| table.clone()).ok_or_else(|| throw(Errno::EBADF))
    }
}

#[napi]
impl NativeTceTable {
    /// Makes a window with no entry, for the memory of a process.
    #[napi(constructor, catch_unwind)]
    pub fn new(mm: u32, geometry: WindowGeometry) -> Result<Self> {
        let object = handles::get(mm).map_err(throw)?;
        let mm = object.address_space().map_err(throw)?;
        let geometry = TceGeometry {
            start: u64(&geometry.start, "start")?,
            page_shift: geometry.page_shift,
            entries: u64(&geometry.entries, "entries")?,
            level_bits: geometry.level_bits,
            registered: geometry.registered,
            write_implies_read: geometry.write_implies_read,
        };
        let table = TceTable::new(geometry, mm).map_err(throw)?;
        let handle = Handle::new(Object::TceTable(table.clone())).map_err(throw)?;
        Ok(Self { open: RefCell::new(Some((table, handle))) })
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |(_, handle)| handle.number()))
    }

    /// Returns the entry of an address; nothing outside the window.
    #[napi(catch_unwind)]
    pub fn entry(&self, iova: BigInt) -> Result<Option<BigInt>> {
        Ok(self.table()?.entry(u64(&iova, "iova")?).map(|tce| tce.value().into()))
    }

    /// Clears every entry.
    #[napi(catch_unwind)]
    pub fn clear(&self) -> Result<()> {
        self.table()?.clear();
        Ok(())
    }

    /// Clears the table and lets it go.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.open.borrow_mut().take();
        if let Some((table, _)) = closed {
            table.clear();
        }
        Ok(())
    }
}
