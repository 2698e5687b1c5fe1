//! `NativeDevicePort`: a device's view of memory, whatever it is attached to.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::ioas::{DevicePort, Reporting};

use super::NativeIoas;
use super::access::NativeIoasAccess;
use super::domain::NativePagingDomain;
use super::nested::NativeNestedTable;
use super::queues::NativePageRequests;
use super::virtual_iommu::NativeVirtualIommu;
use crate::dma::NativeDma;
use crate::errno::Result;
use crate::fault_log::NativeFaultLog;
use crate::numbers::u64;

/// Leads a device to memory.
#[napi]
pub struct NativeDevicePort {
    name: String,
    pub(super) port: Arc<DevicePort>,
    faults: Arc<vfio_iommu::FaultLog>,
}

impl RefUnwindSafe for NativeDevicePort {}

#[napi]
impl NativeDevicePort {
    /// Makes the port of a device that is attached to nothing; refused DMA goes to `faults`.
    #[napi(constructor, catch_unwind)]
    pub fn new(name: String, faults: &NativeFaultLog) -> Self {
        let faults = faults.log().clone();
        Self { port: DevicePort::new(&name, faults.clone()), name, faults }
    }

    /// Leads the device, or a PASID of it, to a page table, which mirrors a space.
    #[napi(catch_unwind)]
    pub fn attach_domain(
        &self,
        pasid: Option<u32>,
        domain: &NativePagingDomain,
        ioas: &NativeIoas,
        device: u32,
        requests: Option<&NativePageRequests>,
    ) -> Result<()> {
        let requests = requests.map(|queue| queue.requests.clone());
        let reporting = Reporting { device, requests, events: None };
        self.port.attach_domain(pasid, &domain.domain, &ioas.ioas, reporting);
        Ok(())
    }

    /// Leads the device, or a PASID of it, to a guest's page table.
    #[napi(catch_unwind)]
    pub fn attach_nested(
        &self,
        pasid: Option<u32>,
        table: &NativeNestedTable,
        device: u32,
        requests: Option<&NativePageRequests>,
        viommu: Option<&NativeVirtualIommu>,
        virt_id: BigInt,
    ) -> Result<()> {
        let virt_id = u64(&virt_id, "virtId")?;
        let requests = requests.map(|queue| queue.requests.clone());
        let events = viommu.map(|native| (native.viommu.clone(), virt_id));
        self.port.attach_nested(pasid, &table.table, Reporting { device, requests, events });
        Ok(())
    }

    /// Leads to whatever an access is attached to.
    #[napi(catch_unwind)]
    pub fn attach_access(&self, access: &NativeIoasAccess) -> Result<()> {
        self.port.attach_access(&access.access);
        Ok(())
    }

    /// Leads nowhere.
    #[napi(catch_unwind)]
    pub fn detach(&self, pasid: Option<u32>) -> Result<()> {
        self.port.detach(pasid);
        Ok(())
    }

    /// Gives the device its view.
    #[napi(catch_unwind)]
    pub fn dma(&self) -> Result<NativeDma> {
        NativeDma::logged(self.port.clone(), self.name.clone(), self.faults.clone())
    }
}
