//! `NativeEndpoint`: the devices that hardware isolates together.

use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::spapr::Endpoint;
use vfio_iommu::{FaultLog, Stopped};

use super::NativeTceTable;
use crate::dma::NativeDma;
use crate::errno::{Result, throw};
use crate::fault_log::NativeFaultLog;

/// The windows of one group, and what it is cut off from.
#[napi]
pub struct NativeEndpoint {
    endpoint: Endpoint,
}

impl RefUnwindSafe for NativeEndpoint {}

#[napi]
impl NativeEndpoint {
    /// Makes an endpoint without windows; its faults go to the log of `sibling`, or to one of its own.
    #[napi(constructor, catch_unwind)]
    pub fn new(freezing: bool, sibling: Option<&NativeEndpoint>) -> Result<Self> {
        let faults = sibling.map_or_else(Arc::<FaultLog>::default, |other| other.endpoint.faults().clone());
        Ok(Self { endpoint: Endpoint::new(freezing, faults) })
    }

    /// Puts a table into a slot.
    #[napi(catch_unwind)]
    pub fn set_window(&self, slot: u32, table: &NativeTceTable) -> Result<()> {
        self.endpoint.set_window(slot as usize, table.table()?).map_err(throw)
    }

    /// Empties a slot.
    #[napi(catch_unwind)]
    pub fn unset_window(&self, slot: u32) -> Result<()> {
        self.endpoint.unset_window(slot as usize);
        Ok(())
    }

    /// Returns what the endpoint is cut off from: 1 registers, 2 memory.
    #[napi(getter, catch_unwind)]
    pub fn stopped(&self) -> Result<u32> {
        Ok(u32::from(self.endpoint.stopped().bits()))
    }

    /// Cuts the endpoint off, or connects it again.
    #[napi(setter, catch_unwind)]
    pub fn set_stopped(&self, stopped: u32) -> Result<()> {
        self.endpoint.set_stopped(Stopped::from_bits_truncate((stopped & 3) as u8));
        Ok(())
    }

    /// Cuts the endpoint off, as an error does.
    #[napi(catch_unwind)]
    pub fn freeze(&self) -> Result<()> {
        self.endpoint.freeze();
        Ok(())
    }

    /// Counts the times that an error cut the endpoint off.
    #[napi(catch_unwind)]
    pub fn freezes(&self) -> Result<BigInt> {
        Ok(self.endpoint.freezes().into())
    }

    /// Gives a device that was opened its view of memory.
    #[napi(catch_unwind)]
    pub fn open_device(&self, name: String) -> Result<NativeDma> {
        let open = Arc::new(AtomicBool::new(true));
        let space = self.endpoint.space_for(&name, open.clone());
        NativeDma::flagged(space, name, open, self.endpoint.faults().clone())
    }

    /// Returns the log of refused DMA.
    #[napi(catch_unwind)]
    pub fn faults(&self) -> Result<NativeFaultLog> {
        Ok(NativeFaultLog::new(self.endpoint.faults().clone()))
    }
}
