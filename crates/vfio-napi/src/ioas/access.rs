//! `NativeIoasAccess`: what software reaches of an address space.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::{BigInt, FnArgs, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_iommu::IovaRange;
use vfio_iommu::ioas::IoasAccess;
use vfio_iommu::type1::DmaUnmapListener;
use vfio_memory::HostSpan;
use vfio_uapi::Errno;

use super::{NativeIoas, address_space};
use crate::errno::{Result, failure, throw};
use crate::js::{Argument, Callback};
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::realm;

/// Reads, writes and pins.
#[napi]
pub struct NativeIoasAccess {
    pub(super) access: IoasAccess,
}

impl RefUnwindSafe for NativeIoasAccess {}

/// A driver in JavaScript that unpins what is being unmapped.
struct JsListener(Arc<Callback>);

impl DmaUnmapListener for JsListener {
    fn dma_unmap(&self, range: IovaRange) {
        // The whole space has no size in 64 bits; the nearest there is says the same.
        let size = range.last() - range.start();
        self.0.invoke(&[Argument::U64(range.start()), Argument::U64(size.saturating_add(1))]);
    }
}

#[napi]
impl NativeIoasAccess {
    /// Makes an access that is attached to nothing; `on_unmap` is asked to unpin a range: first address, length.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        may_pin: bool,
        on_unmap: Option<Function<FnArgs<(BigInt, BigInt)>, ()>>,
    ) -> Result<Self> {
        let listener = match on_unmap {
            Some(function) => {
                let realm =
                    realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
                let callback = Arc::new(Callback::new(realm, function.raw())?);
                Some(Arc::new(JsListener(callback)) as Arc<dyn DmaUnmapListener>)
            }
            None => None,
        };
        Ok(Self { access: IoasAccess::new(may_pin, listener) })
    }

    /// Attaches to a space, or to none.
    #[napi(catch_unwind)]
    pub fn attach(&self, ioas: Option<&NativeIoas>) -> Result<()> {
        self.access.attach(ioas.map(|native| &native.ioas)).map_err(throw)
    }

    /// Reads bytes.
    #[napi(catch_unwind)]
    pub fn read(&self, iova: BigInt, length: u32) -> Result<JsBytes> {
        let mut bytes = vec![0; length as usize];
        self.access.read(u64(&iova, "iova")?, &mut bytes).map_err(throw)?;
        Ok(bytes.into())
    }

    /// Writes bytes.
    #[napi(catch_unwind)]
    pub fn write(&self, iova: BigInt, from: JsBytes) -> Result<()> {
        self.access.write(u64(&iova, "iova")?, &from).map_err(throw)
    }

    /// Pins pages; with `address`, only those that a process has there, else `EINVAL`.
    #[napi(catch_unwind)]
    pub fn pin(
        &self,
        iova: BigInt,
        length: BigInt,
        write: bool,
        mm: u32,
        address: Option<BigInt>,
    ) -> Result<()> {
        let (iova, length) = (u64(&iova, "iova")?, u64(&length, "length")?);
        let spans = self.access.pin(iova, length, write).map_err(throw)?;
        let Some(address) = address else { return Ok(()) };
        let expected = expected(mm, u64(&address, "address")?, &spans);
        if !matches!(expected, Ok(true)) {
            self.access.unpin(iova, length);
        }
        if expected? { Ok(()) } else { Err(throw(Errno::EINVAL)) }
    }

    /// Takes one pin off each page.
    #[napi(catch_unwind)]
    pub fn unpin(&self, iova: BigInt, length: BigInt) -> Result<()> {
        self.access.unpin(u64(&iova, "iova")?, u64(&length, "length")?);
        Ok(())
    }
}

/// Tells whether `spans` are what a process has at an address.
fn expected(mm: u32, address: u64, spans: &[HostSpan]) -> Result<bool> {
    let mm = address_space(mm)?;
    let mut at = address;
    for span in spans {
        let found = mm.get_pages(at, span.len, false).map_err(|stop| throw(stop.errno))?;
        let mut offset = span.offset;
        for piece in found {
            if !piece.memory.same_object(&span.memory) || piece.offset != offset {
                return Ok(false);
            }
            offset += piece.len;
        }
        at = at.wrapping_add(span.len);
    }
    Ok(true)
}
