//! `NativeVirtualIommu`, `NativeCommandQueue`: what belongs to a guest's IOMMU.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::ioas::{COMMAND_SIZE, CommandQueue, VirtualIommu};

use super::NativeIoas;
use super::domain::NativePagingDomain;
use super::nested::NativeNestedTable;
use super::port::NativeDevicePort;
use super::queues::NativeEventQueue;
use crate::errno::{Result, out_of_range, throw};
use crate::js_bytes::JsBytes;
use crate::numbers::u64;

/// A guest's IOMMU.
#[napi]
pub struct NativeVirtualIommu {
    pub(super) viommu: Arc<VirtualIommu>,
}

/// A ring of commands.
#[napi]
pub struct NativeCommandQueue {
    queue: Arc<CommandQueue>,
}

impl RefUnwindSafe for NativeVirtualIommu {}
impl RefUnwindSafe for NativeCommandQueue {}

#[napi]
impl NativeVirtualIommu {
    /// Makes one on top of a page table, which mirrors a space.
    #[napi(constructor, catch_unwind)]
    pub fn new(parent: &NativePagingDomain, ioas: &NativeIoas) -> Self {
        Self { viommu: VirtualIommu::new(&parent.domain, &ioas.ioas) }
    }

    /// Says where events go.
    #[napi(catch_unwind)]
    pub fn set_events(&self, queue: Option<&NativeEventQueue>) -> Result<()> {
        self.viommu.set_events(queue.map(|queue| queue.queue.clone()));
        Ok(())
    }

    /// Makes a device known, or unknown.
    #[napi(catch_unwind)]
    pub fn set_device(&self, virt_id: BigInt, port: Option<&NativeDevicePort>) -> Result<()> {
        self.viommu.set_device(u64(&virt_id, "virtId")?, port.map(|port| &port.port));
        Ok(())
    }

    /// Takes part in the invalidations of a guest's table.
    #[napi(catch_unwind)]
    pub fn add_table(&self, table: &NativeNestedTable) -> Result<()> {
        self.viommu.add_table(&table.table);
        Ok(())
    }

    /// Does a command; returns 0, or why it was not done.
    #[napi(catch_unwind)]
    pub fn execute(&self, command: JsBytes) -> Result<u32> {
        let bytes: &[u8; COMMAND_SIZE] =
            command.0.as_slice().try_into().map_err(|_| out_of_range("command.length"))?;
        Ok(self.viommu.execute(bytes).err().map_or(0, |error| error as u32))
    }
}

#[napi]
impl NativeCommandQueue {
    /// Makes a queue over memory of the guest.
    #[napi(constructor, catch_unwind)]
    pub fn new(viommu: &NativeVirtualIommu, index: u32, base: BigInt, length: BigInt) -> Result<Self> {
        let (base, length) = (u64(&base, "base")?, u64(&length, "length")?);
        let queue = CommandQueue::new(&viommu.viommu, index, base, length).map_err(throw)?;
        Ok(Self { queue })
    }

    /// Says up to where there are commands.
    #[napi(catch_unwind)]
    pub fn ring(&self, producer: u32) -> Result<()> {
        self.queue.ring(producer);
        Ok(())
    }

    /// Clears the error.
    #[napi(catch_unwind)]
    pub fn resume(&self) -> Result<()> {
        self.queue.resume();
        Ok(())
    }

    /// Returns producer, consumer, and the error or 0.
    #[napi(catch_unwind)]
    pub fn status(&self) -> Result<Vec<u32>> {
        let (consumer, error) = self.queue.status();
        Ok(vec![self.queue.producer(), consumer, error.map_or(0, |error| error as u32)])
    }

    /// Lets go of its memory.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        self.queue.close();
        Ok(())
    }
}
