//! `NativeDevicePort`: a device's view of memory, whatever it is attached to.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi_derive::napi;
use vfio_iommu::ioas::DevicePort;

use super::NativeIoas;
use super::access::NativeIoasAccess;
use super::domain::NativePagingDomain;
use crate::dma::NativeDma;
use crate::errno::Result;
use crate::fault_log::NativeFaultLog;

/// Leads a device to memory.
#[napi]
pub struct NativeDevicePort {
    name: String,
    port: Arc<DevicePort>,
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

    /// Leads to a page table, which mirrors a space.
    #[napi(catch_unwind)]
    pub fn attach_domain(&self, domain: &NativePagingDomain, ioas: &NativeIoas) -> Result<()> {
        self.port.attach_domain(&domain.domain, &ioas.ioas);
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
    pub fn detach(&self) -> Result<()> {
        self.port.detach();
        Ok(())
    }

    /// Gives the device its view.
    #[napi(catch_unwind)]
    pub fn dma(&self) -> Result<NativeDma> {
        NativeDma::logged(self.port.clone(), self.name.clone(), self.faults.clone())
    }
}
