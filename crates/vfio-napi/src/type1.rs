//! `NativeType1`: the IOMMU of a container.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use napi::bindgen_prelude::{BigInt, FnArgs, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_iommu::IovaRange;
use vfio_iommu::type1::{
    DeviceId, DeviceKind, DmaUnmapListener, HwIommu, ReservedKind, ReservedRegion, Type1,
};
use vfio_uapi::Errno;

use crate::dma::NativeDma;
use crate::errno::{Result, failure, out_of_range, throw};
use crate::fault_log::NativeFaultLog;
use crate::handles::Handle;
use crate::js::{Argument, Callback};
use crate::numbers::{Range, u64};
use crate::object::Object;
use crate::realm;

/// The mappings of one container.
#[napi]
pub struct NativeType1 {
    type1: Type1,
    handle: RefCell<Option<Handle>>,
    next_device: AtomicU64,
}

impl RefUnwindSafe for NativeType1 {}

/// What the hardware in front of a group can do.
#[napi(object, object_to_js = false)]
pub struct Geometry {
    /// One bit per page size.
    pub pgsizes: BigInt,
    /// First address it translates.
    pub aperture_start: BigInt,
    /// Last address it translates.
    pub aperture_last: BigInt,
    /// Ranges that it does not.
    pub reserved: Vec<Reserved>,
    /// Enforces cache coherency.
    pub cache_coherency: bool,
}

/// A reserved range.
#[napi(object, object_to_js = false)]
pub struct Reserved {
    /// First address.
    pub start: BigInt,
    /// Last address.
    pub last: BigInt,
    /// `direct`, `direct-relaxable`, `reserved`, `msi` or `sw-msi`.
    pub kind: String,
}

/// What `VFIO_IOMMU_GET_INFO` tells.
#[napi(object, object_from_js = false)]
pub struct Info {
    /// One bit per page size.
    pub pgsizes: BigInt,
    /// Usable ranges.
    pub iova_ranges: Option<Vec<Range>>,
    /// Mappings that may still be made.
    pub dma_avail: u32,
    /// Dirty tracking.
    pub migration: Migration,
}

/// What dirty tracking can do.
#[napi(object, object_from_js = false)]
pub struct Migration {
    /// None are defined.
    pub flags: u32,
    /// Page sizes that a bitmap can have.
    pub pgsize_bitmap: BigInt,
    /// Size of the largest bitmap in bytes.
    pub max_dirty_bitmap_size: BigInt,
}

/// A driver in JavaScript that unpins what is being unmapped.
struct JsListener(Arc<Callback>);

impl DmaUnmapListener for JsListener {
    fn dma_unmap(&self, range: IovaRange) {
        self.0.invoke(&[Argument::U64(range.start()), Argument::U64(range.size())]);
    }
}

impl Geometry {
    fn hardware(&self) -> Result<HwIommu> {
        let range = |start: &BigInt, last: &BigInt, name: &str| {
            IovaRange::new(u64(start, name)?, u64(last, name)?).ok_or_else(|| out_of_range(name))
        };
        let region = |region: &Reserved| {
            Ok(ReservedRegion {
                range: range(&region.start, &region.last, "reserved")?,
                kind: match &*region.kind {
                    "direct" => ReservedKind::Direct,
                    "direct-relaxable" => ReservedKind::DirectRelaxable,
                    "reserved" => ReservedKind::Reserved,
                    "msi" => ReservedKind::Msi,
                    "sw-msi" => ReservedKind::SoftwareMsi,
                    _ => return Err(out_of_range("kind")),
                },
            })
        };
        Ok(HwIommu {
            pgsizes: u64(&self.pgsizes, "pgsizes")?,
            aperture: range(&self.aperture_start, &self.aperture_last, "aperture")?,
            reserved: self.reserved.iter().map(region).collect::<Result<_>>()?,
            cache_coherency: self.cache_coherency,
        })
    }
}

impl NativeType1 {
    fn get(&self) -> Result<&Type1> {
        if self.handle.borrow().is_some() { Ok(&self.type1) } else { Err(throw(Errno::EBADF)) }
    }
}

#[napi]
impl NativeType1 {
    /// Makes an IOMMU without groups.
    #[napi(constructor, catch_unwind)]
    pub fn new(v2: bool, entry_limit: u32) -> Result<Self> {
        let type1 = Type1::new(v2, entry_limit);
        let handle = Handle::new(Object::Type1(type1.clone())).map_err(throw)?;
        Ok(Self { type1, handle: RefCell::new(Some(handle)), next_device: AtomicU64::new(0) })
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.handle.borrow().as_ref().map_or(0, Handle::number))
    }

    /// Attaches a group behind hardware.
    #[napi(catch_unwind)]
    pub fn attach_hw(&self, group: u32, geometry: Geometry) -> Result<()> {
        self.get()?.attach_hw(group, &geometry.hardware()?).map_err(throw)
    }

    /// Attaches a group of mediated devices.
    #[napi(catch_unwind)]
    pub fn attach_emulated(&self, group: u32) -> Result<()> {
        self.get()?.attach_emulated(group).map_err(throw)
    }

    /// Detaches a group.
    #[napi(catch_unwind)]
    pub fn detach(&self, group: u32) -> Result<()> {
        self.get()?.detach(group);
        Ok(())
    }

    /// Starts tracking dirty pages.
    #[napi(catch_unwind)]
    pub fn dirty_start(&self) -> Result<()> {
        self.get()?.dirty_start().map_err(throw)
    }

    /// Stops tracking dirty pages.
    #[napi(catch_unwind)]
    pub fn dirty_stop(&self) -> Result<()> {
        self.get()?.dirty_stop().map_err(throw)
    }

    /// Describes the IOMMU.
    #[napi(catch_unwind)]
    pub fn info(&self) -> Result<Info> {
        let info = self.get()?.info();
        Ok(Info {
            pgsizes: info.pgsizes.into(),
            iova_ranges: info.iova_ranges.map(|ranges| ranges.into_iter().map(Range::from).collect()),
            dma_avail: info.dma_avail,
            migration: Migration {
                flags: info.migration.flags,
                pgsize_bitmap: info.migration.pgsize_bitmap.into(),
                max_dirty_bitmap_size: info.migration.max_dirty_bitmap_size.into(),
            },
        })
    }

    /// Answers `VFIO_CHECK_EXTENSION`.
    #[napi(catch_unwind)]
    pub fn check_extension(&self, extension: u32) -> Result<u32> {
        Ok(self.get()?.check_extension(extension))
    }

    /// Gives a device that was opened its view of memory.
    #[napi(catch_unwind)]
    pub fn open_device(
        &self,
        env: Env,
        name: String,
        emulated: bool,
        on_unmap: Option<Function<FnArgs<(BigInt, BigInt)>, ()>>,
    ) -> Result<NativeDma> {
        let type1 = self.get()?;
        let device = DeviceId(self.next_device.fetch_add(1, Ordering::Relaxed));
        let kind = if emulated { DeviceKind::Emulated } else { DeviceKind::Hw };
        let space = type1.space_for(device, &name, kind);
        if let Some(function) = on_unmap {
            let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
            let callback = Arc::new(Callback::new(realm, function.raw())?);
            type1.register_listener(device, Arc::new(JsListener(callback)));
        }
        NativeDma::opened(space, name, type1.clone(), device)
    }

    /// Returns the log of refused DMA.
    #[napi(catch_unwind)]
    pub fn faults(&self) -> Result<NativeFaultLog> {
        Ok(NativeFaultLog::new(self.type1.faults().clone()))
    }

    /// Returns the number of mappings.
    #[napi(catch_unwind)]
    pub fn mappings(&self) -> Result<u32> {
        Ok(u32::try_from(self.get()?.mapping_count()).unwrap_or(u32::MAX))
    }

    /// Takes everything down.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.handle.borrow_mut().take();
        if closed.is_some() {
            self.type1.close();
            self.type1.faults().set_listener(None);
        }
        Ok(())
    }
}
