//! `NativePciFunction`: the hardware's side of a simulated PCI function.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, OnceLock};

use napi::bindgen_prelude::{BigInt, FnArgs, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_device::models::{Edu, EduConfig};
use vfio_device::pci::{BarAddress, DeviceBus, InterruptMode, PciFunction};
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;

use crate::dma::NativeDma;
use crate::errno::{Result, failure, out_of_range, throw};
use crate::handles::Handle;
use crate::js::Callback;
use crate::js_bytes::JsBytes;
use crate::js_pci_model::{Functions, JsPciModel};
use crate::numbers::u64;
use crate::object::{Object, Pci};
use crate::pci_description::{PciDescription, PciIdentity};
use crate::realm;

/// A simulated PCI function.
#[napi]
pub struct NativePciFunction {
    name: String,
    open: RefCell<Option<Open>>,
}

struct Open {
    pci: Pci,
    handle: Handle,
    model: Option<Arc<JsPciModel>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(model) = &self.model {
            model.detach();
        }
    }
}

impl RefUnwindSafe for NativePciFunction {}

/// Takes a BAR, an offset and bytes.
type BarFunction<'env> = Function<'env, FnArgs<(u32, BigInt, JsBytes)>, bool>;

/// The functions of a model; each answers `false` where the access failed.
#[napi(object, object_to_js = false)]
pub struct PciModelFunctions<'env> {
    /// Reads from a BAR.
    pub read: Option<BarFunction<'env>>,
    /// Writes to a BAR.
    pub write: Option<BarFunction<'env>>,
    /// Configuration space was written.
    pub config_written: Option<Function<'env, FnArgs<(u32, u32)>, bool>>,
    /// The function was reset.
    pub reset: Option<Function<'env, (), bool>>,
}

/// Where firmware put a BAR.
#[napi(object, object_to_js = false)]
pub struct AssignedBar {
    /// 0 to 5; 6 is the ROM.
    pub bar: u32,
    /// Bus address.
    pub address: BigInt,
}

/// The interrupts of a function, as the hardware sees them.
#[napi(object, object_from_js = false)]
pub struct PciInterrupts {
    /// Level of the line.
    pub intx: bool,
    /// Messages sent.
    pub messages: BigInt,
    /// `none`, `intx`, `msi` or `msix`.
    pub mode: &'static str,
}

impl PciModelFunctions<'_> {
    fn hold(self, env: Env) -> Result<Functions> {
        let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
        let hold = |function: Option<napi::sys::napi_value>| {
            function.map(|function| Callback::new(realm.clone(), function).map(Arc::new)).transpose()
        };
        Ok(Functions {
            read: hold(self.read.map(|function| function.raw()))?,
            write: hold(self.write.map(|function| function.raw()))?,
            config_written: hold(self.config_written.map(|function| function.raw()))?,
            reset: hold(self.reset.map(|function| function.raw()))?,
        })
    }
}

impl NativePciFunction {
    /// Wraps a function for JavaScript.
    pub(crate) fn wrap(
        function: Arc<PciFunction>,
        bus: Option<DeviceBus>,
        model: Option<Arc<JsPciModel>>,
    ) -> Result<Self> {
        let pci = Pci { function, bus };
        let name = pci.function.name().to_owned();
        let handle = Handle::new(Object::Pci(pci.clone())).map_err(throw)?;
        Ok(Self { name, open: RefCell::new(Some(Open { pci, handle, model })) })
    }

    fn function(&self) -> Result<Arc<PciFunction>> {
        let open = self.open.borrow();
        open.as_ref().map(|open| open.pci.function.clone()).ok_or_else(|| throw(Errno::EBADF))
    }
}

#[napi]
impl NativePciFunction {
    /// Makes the `edu` device.
    #[napi(factory, catch_unwind)]
    pub fn edu(identity: PciIdentity, dma_mask: Option<BigInt>) -> Result<Self> {
        let mut config = EduConfig::new(identity.name.clone());
        config.identity = identity.over(config.identity)?;
        config.multifunction = identity.multifunction.unwrap_or(config.multifunction);
        if let Some(mask) = dma_mask {
            config.dma_mask = u64(&mask, "dmaMask")?;
        }
        let function = Edu::function(config).map_err(throw)?;
        Self::wrap(function, None, None)
    }

    /// Makes a function whose BARs JavaScript answers.
    #[napi(factory, catch_unwind)]
    pub fn from_model(
        env: Env,
        functions: PciModelFunctions,
        identity: PciIdentity,
        description: PciDescription,
    ) -> Result<Self> {
        let spec = description.spec(&identity)?;
        let model = Arc::new(JsPciModel::new(functions.hold(env)?));
        let made = OnceLock::new();
        let function = PciFunction::new(spec, |bus| {
            let _ = made.set(bus);
            model.clone()
        })
        .map_err(throw)?;
        let bus = made.into_inner().ok_or_else(|| failure("the function has no bus"))?;
        Self::wrap(function, Some(bus), Some(model))
    }

    /// Resets several functions at once as the host does when it resets their bus; named by their handles.
    #[napi(catch_unwind)]
    pub fn reset_bus(functions: Vec<u32>) -> Result<()> {
        let find = |handle: u32| {
            let object = crate::handles::get(handle)?;
            object.pci().map(|pci| pci.function.clone())
        };
        let functions = functions.into_iter().map(find).collect::<std::result::Result<Vec<_>, _>>();
        PciFunction::reset_bus(&functions.map_err(throw)?);
        Ok(())
    }

    /// Returns the name.
    #[napi(getter, catch_unwind)]
    pub fn name(&self) -> Result<String> {
        Ok(self.name.clone())
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |open| open.handle.number()))
    }

    /// Does what firmware does at boot: places BARs, notes the interrupt line, lets the function answer.
    #[napi(catch_unwind)]
    pub fn assign(&self, addresses: Vec<AssignedBar>, interrupt_line: u32) -> Result<()> {
        let place = |assigned: AssignedBar| {
            let bar = u8::try_from(assigned.bar).map_err(|_| out_of_range("bar"))?;
            Ok(BarAddress { bar, address: u64(&assigned.address, "address")? })
        };
        let addresses = addresses.into_iter().map(place).collect::<Result<Vec<_>>>()?;
        let line = u8::try_from(interrupt_line).map_err(|_| out_of_range("interruptLine"))?;
        self.function()?.assign(&addresses, line).map_err(throw)
    }

    /// Tells whether the host can reset the function's bus without touching other functions.
    #[napi(catch_unwind)]
    pub fn set_bus_reset(&self, possible: bool) -> Result<()> {
        self.function()?.set_bus_reset(possible);
        Ok(())
    }

    /// Resets the function as the host does.
    #[napi(catch_unwind)]
    pub fn reset(&self) -> Result<()> {
        self.function()?.try_reset().map_err(throw)
    }

    /// Shows the interrupts.
    #[napi(catch_unwind)]
    pub fn interrupts(&self) -> Result<PciInterrupts> {
        let state = self.function()?.interrupts();
        Ok(PciInterrupts {
            intx: state.line,
            messages: state.messages.into(),
            mode: match state.mode {
                InterruptMode::None => "none",
                InterruptMode::Line => "intx",
                InterruptMode::Msi => "msi",
                InterruptMode::Msix => "msix",
            },
        })
    }

    /// Returns the function's DMA.
    #[napi(catch_unwind)]
    pub fn dma(&self) -> Result<NativeDma> {
        let space: Arc<dyn DmaSpace> = self.function()?.dma().clone();
        NativeDma::view(space, self.name.clone())
    }

    /// Lets the function go; its model no longer answers.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let open = self.open.borrow_mut().take();
        drop(open);
        Ok(())
    }
}
