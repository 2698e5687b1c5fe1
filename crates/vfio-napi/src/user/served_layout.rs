//! What of a device needs no JavaScript, as JavaScript says it.

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_device::ops::RegionMemory;
use vfio_device::pci::Doorbell;
use vfio_uapi::Errno;

use super::layout::Layout;
use crate::errno::{Result, out_of_range, throw};
use crate::handles;
use crate::numbers::u64;

/// The parts of a device that need no JavaScript.
#[napi(object, object_to_js = false)]
pub struct ServedLayout {
    /// The device wants to know of memory that goes.
    pub hears_unmaps: bool,
    /// Memory behind regions.
    pub memory: Vec<ServedMemory>,
    /// Registers that ring an event.
    pub doorbells: Vec<ServedDoorbell>,
}

/// Memory behind a part of a region.
#[napi(object, object_to_js = false)]
pub struct ServedMemory {
    /// Which region.
    pub region: u32,
    /// First byte within the region.
    pub offset: BigInt,
    /// Bytes.
    pub length: BigInt,
    /// Handle of the memory.
    pub memory: u32,
    /// First byte within the memory.
    pub memory_offset: BigInt,
}

/// A register that rings an event when it is written.
#[napi(object, object_to_js = false)]
pub struct ServedDoorbell {
    /// Which region.
    pub region: u32,
    /// Where in the region.
    pub offset: BigInt,
    /// Bytes of the write: 1, 2, 4 or 8.
    pub width: u32,
    /// The value that rings; absent: every value.
    pub value: Option<BigInt>,
    /// Handle of the event.
    pub event: u32,
}

impl ServedLayout {
    /// Finds the objects.
    pub(super) fn native(&self) -> Result<Layout> {
        let mut layout = Layout::default();
        layout.hears_unmaps = self.hears_unmaps;
        for part in &self.memory {
            let object = handles::get(part.memory).map_err(throw)?;
            let memory = object.memory().map_err(throw)?.clone();
            let (offset, len) = (u64(&part.offset, "offset")?, u64(&part.length, "length")?);
            let memory_offset = u64(&part.memory_offset, "memoryOffset")?;
            let inside = memory_offset.checked_add(len).is_some_and(|end| end <= memory.len());
            if !inside || offset.checked_add(len).is_none() {
                return Err(throw(Errno::EINVAL));
            }
            layout.add_memory(part.region, RegionMemory { offset, len, memory, memory_offset });
        }
        for bell in &self.doorbells {
            let object = handles::get(bell.event).map_err(throw)?;
            let event = object.event_fd().map_err(throw)?.clone();
            let width = u8::try_from(bell.width).ok().filter(|width| matches!(width, 1 | 2 | 4 | 8));
            let doorbell = Doorbell {
                offset: u64(&bell.offset, "offset")?,
                width: width.ok_or_else(|| out_of_range("width"))?,
                value: bell.value.as_ref().map(|value| u64(value, "value")).transpose()?,
                event,
            };
            layout.add_doorbell(bell.region, doorbell);
        }
        Ok(layout)
    }
}
