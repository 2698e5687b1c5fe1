//! How JavaScript describes a PCI function.

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_device::pci::registers::EXP_DEVCAP_FLR;
use vfio_device::pci::{
    BarKind, BarSpace, BarSpec, Capability, Doorbell, ExpressSpec, FunctionSpec, Identity, MemoryWindow,
    MsiSpec, MsixSpec, PowerSpec,
};
use vfio_uapi::Errno;

use crate::errno::{Result, out_of_range, throw};
use crate::handles;
use crate::numbers::u64;

/// Who a function says that it is; what is undefined takes the default of the device.
#[napi(object, object_to_js = false)]
pub struct PciIdentity {
    /// Name for messages and faults.
    pub name: String,
    /// Vendor id.
    pub vendor: Option<u32>,
    /// Device id.
    pub device: Option<u32>,
    /// Subsystem vendor id.
    pub subsystem_vendor: Option<u32>,
    /// Subsystem id.
    pub subsystem_device: Option<u32>,
    /// Revision id.
    pub revision: Option<u32>,
    /// Class code, 24 bits.
    pub class_code: Option<u32>,
    /// The device has more than one function.
    pub multifunction: Option<bool>,
}

/// A base address register.
#[napi(object, object_to_js = false)]
pub struct PciBar {
    /// 0 to 5.
    pub index: u32,
    /// Bytes.
    pub size: BigInt,
    /// `memory32`, `memory64` or `io`.
    pub kind: String,
    /// Reads have no side effects.
    pub prefetchable: Option<bool>,
    /// Handle of the memory behind it.
    pub memory: Option<u32>,
    /// Memory behind parts of it, instead.
    pub windows: Vec<PciWindow>,
    /// Registers whose writes signal an event.
    pub doorbells: Vec<PciDoorbell>,
}

/// Memory behind a part of a BAR.
#[napi(object, object_to_js = false)]
pub struct PciWindow {
    /// Where in the BAR.
    pub offset: BigInt,
    /// Bytes.
    pub length: BigInt,
    /// Handle of the memory.
    pub memory: u32,
    /// Where in the memory.
    pub memory_offset: BigInt,
}

/// A register whose writes signal an event.
#[napi(object, object_to_js = false)]
pub struct PciDoorbell {
    /// Where in the BAR.
    pub offset: BigInt,
    /// Bytes of the write.
    pub width: u32,
    /// The value that rings; absent: every value.
    pub value: Option<BigInt>,
    /// Handle of the event.
    pub event: u32,
}

/// Places of an MSI-X capability.
#[napi(object, object_to_js = false)]
pub struct PciMsix {
    /// 1 to 2048.
    pub vectors: u32,
    /// BAR of the table.
    pub table_bar: u32,
    /// Offset of the table.
    pub table_offset: u32,
    /// BAR of the pending bits.
    pub pba_bar: u32,
    /// Offset of the pending bits.
    pub pba_offset: u32,
}

/// What a function has beside its identity.
#[napi(object, object_to_js = false)]
pub struct PciDescription {
    /// Base address registers.
    pub bars: Vec<PciBar>,
    /// 0 none, 1 INTA to 4 INTD.
    pub interrupt_pin: Option<u32>,
    /// Vectors of an MSI capability.
    pub msi: Option<u32>,
    /// An MSI-X capability.
    pub msix: Option<PciMsix>,
    /// A PCI Express capability.
    pub express: Option<bool>,
    /// Function level reset.
    pub function_reset: Option<bool>,
    /// Power management.
    pub power_management: Option<bool>,
}

fn narrow<T: TryFrom<u32>>(value: u32, name: &str) -> Result<T> {
    T::try_from(value).map_err(|_| out_of_range(name))
}

impl PciIdentity {
    /// Fills what is undefined from `default`.
    pub(crate) fn over(&self, default: Identity) -> Result<Identity> {
        fn pick<T: TryFrom<u32>>(value: Option<u32>, default: T, name: &str) -> Result<T> {
            value.map_or(Ok(default), |value| narrow(value, name))
        }
        let class = self.class_code.unwrap_or(default.class);
        if class >> 24 != 0 {
            return Err(out_of_range("classCode"));
        }
        Ok(Identity {
            vendor: pick(self.vendor, default.vendor, "vendor")?,
            device: pick(self.device, default.device, "device")?,
            subsystem_vendor: pick(self.subsystem_vendor, default.subsystem_vendor, "subsystemVendor")?,
            subsystem: pick(self.subsystem_device, default.subsystem, "subsystemDevice")?,
            revision: pick(self.revision, default.revision, "revision")?,
            class,
        })
    }
}

impl PciDescription {
    /// Describes the function to the simulation.
    pub(crate) fn spec(&self, identity: &PciIdentity) -> Result<FunctionSpec> {
        const NOBODY: Identity =
            Identity { vendor: 0, device: 0, subsystem_vendor: 0, subsystem: 0, revision: 0, class: 0 };
        let mut spec = FunctionSpec::new(identity.name.clone(), identity.over(NOBODY)?);
        spec.multifunction = identity.multifunction.unwrap_or(false);
        spec.interrupt_pin = narrow(self.interrupt_pin.unwrap_or(0), "interruptPin")?;
        for bar in &self.bars {
            let place = spec.bars.get_mut(bar.index as usize).ok_or_else(|| out_of_range("bars.index"))?;
            if place.replace(bar.spec()?).is_some() {
                return Err(throw(Errno::EINVAL));
            }
        }
        spec.capabilities = self.capabilities()?;
        spec.extended_config = self.express.unwrap_or(false);
        Ok(spec)
    }

    fn capabilities(&self) -> Result<Vec<Capability>> {
        let mut capabilities = Vec::new();
        let resets = self.function_reset.unwrap_or(false);
        if self.power_management.unwrap_or(false) {
            let version_3 = 3;
            capabilities
                .push(Capability::power(PowerSpec { capabilities: version_3, ..PowerSpec::default() }));
        }
        if let Some(vectors @ 1..) = self.msi {
            if !vectors.is_power_of_two() || vectors > 32 {
                return Err(throw(Errno::EINVAL));
            }
            let vectors = narrow(vectors, "msi")?;
            capabilities.push(Capability::msi(MsiSpec { vectors, wide: true, maskable: true }));
        }
        if self.express.unwrap_or(false) {
            let mut express = ExpressSpec::endpoint();
            if !resets {
                express.device_capabilities &= !EXP_DEVCAP_FLR;
            }
            capabilities.push(Capability::express(express));
        } else if resets {
            capabilities.push(Capability::advanced_features());
        }
        if let Some(msix) = &self.msix {
            capabilities.push(Capability::msix(msix.spec()?));
        }
        Ok(capabilities)
    }
}

impl PciBar {
    fn spec(&self) -> Result<BarSpec> {
        let space = match &*self.kind {
            "memory32" => BarSpace::Memory32,
            "memory64" => BarSpace::Memory64,
            "io" => BarSpace::Io,
            _ => return Err(out_of_range("bars.kind")),
        };
        let size = u64(&self.size, "bars.size")?;
        let mut spec = BarSpec::model(size, space);
        if let Some(handle) = self.memory {
            let object = handles::get(handle).map_err(throw)?;
            spec = BarSpec { size, ..BarSpec::memory(object.memory().map_err(throw)?.clone(), space) };
        }
        if !self.windows.is_empty() {
            if self.memory.is_some() {
                return Err(throw(Errno::EINVAL));
            }
            spec.kind = BarKind::Windows(self.windows.iter().map(PciWindow::spec).collect::<Result<_>>()?);
        }
        spec.doorbells = self.doorbells.iter().map(PciDoorbell::spec).collect::<Result<_>>()?;
        spec.prefetchable = self.prefetchable.unwrap_or(false);
        Ok(spec)
    }
}

impl PciWindow {
    fn spec(&self) -> Result<MemoryWindow> {
        let object = handles::get(self.memory).map_err(throw)?;
        Ok(MemoryWindow {
            offset: u64(&self.offset, "windows.offset")?,
            len: u64(&self.length, "windows.length")?,
            memory: object.memory().map_err(throw)?.clone(),
            memory_offset: u64(&self.memory_offset, "windows.memoryOffset")?,
        })
    }
}

impl PciDoorbell {
    fn spec(&self) -> Result<Doorbell> {
        let object = handles::get(self.event).map_err(throw)?;
        Ok(Doorbell {
            offset: u64(&self.offset, "doorbells.offset")?,
            width: narrow(self.width, "doorbells.width")?,
            value: self.value.as_ref().map(|value| u64(value, "doorbells.value")).transpose()?,
            event: object.event_fd().map_err(throw)?.clone(),
        })
    }
}

impl PciMsix {
    fn spec(&self) -> Result<MsixSpec> {
        if !(1..=2048).contains(&self.vectors) || !(self.table_offset | self.pba_offset).is_multiple_of(8) {
            return Err(throw(Errno::EINVAL));
        }
        Ok(MsixSpec {
            vectors: narrow(self.vectors, "msix.vectors")?,
            table_bar: narrow(self.table_bar, "msix.tableBar")?,
            table_offset: self.table_offset,
            pba_bar: narrow(self.pba_bar, "msix.pbaBar")?,
            pba_offset: self.pba_offset,
        })
    }
}
