//! Functions that emulate themselves, beside `edu`: one factory each.

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_device::models::{
    DmaEngine, DmaEngineConfig, E1000e, E1000eConfig, Ioat, IoatConfig, Nvme, NvmeConfig, Testdev,
    TestdevConfig,
};
use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles;
use crate::numbers::u64;
use crate::pci_description::PciIdentity;
use crate::pci_function::NativePciFunction;

/// Finds the memory with that handle.
fn memory(handle: u32) -> std::result::Result<Memory, Errno> {
    Ok(handles::get(handle)?.memory()?.clone())
}

/// What an NVMe controller is made of beside its identity; absent: as QEMU's.
#[napi(object, object_to_js = false)]
pub struct NvmeSettings {
    /// Handle of the memory that keeps the blocks.
    pub media: Option<u32>,
    /// Bytes of fresh memory that keeps them, where there is no handle.
    pub capacity: Option<BigInt>,
    /// Serial number.
    pub serial: Option<String>,
    /// Model number.
    pub model: Option<String>,
    /// 512 or 4096.
    pub block_size: Option<u32>,
    /// 1 to 64.
    pub queue_pairs: Option<u32>,
}

/// Makes an NVMe controller.
#[napi(catch_unwind)]
pub fn make_nvme(identity: PciIdentity, settings: NvmeSettings) -> Result<NativePciFunction> {
    let name = identity.name.clone();
    let mut config = match (settings.media, &settings.capacity) {
        (Some(handle), _) => NvmeConfig::with_media(name, memory(handle).map_err(throw)?),
        (None, Some(capacity)) => {
            let media = Memory::anonymous(u64(capacity, "capacity")?).map_err(throw)?;
            NvmeConfig::with_media(name, media)
        }
        (None, None) => NvmeConfig::new(name).map_err(throw)?,
    };
    config.identity = identity.over(config.identity)?;
    config.serial = settings.serial.unwrap_or(config.serial);
    config.model = settings.model.unwrap_or(config.model);
    config.block_size = settings.block_size.unwrap_or(config.block_size);
    if let Some(pairs) = settings.queue_pairs {
        config.queue_pairs = u16::try_from(pairs).map_err(|_| throw(Errno::EINVAL))?;
    }
    NativePciFunction::wrap(Nvme::function(config).map_err(throw)?, None, None)
}

/// Makes QEMU's `pci-testdev`.
#[napi(catch_unwind)]
pub fn make_testdev(identity: PciIdentity) -> Result<NativePciFunction> {
    let mut config = TestdevConfig::new(identity.name.clone()).map_err(throw)?;
    config.identity = identity.over(config.identity)?;
    NativePciFunction::wrap(Testdev::function(config).map_err(throw)?, None, None)
}

/// Makes an Intel `e1000e`, as far as its configuration, regions and resets go.
#[napi(js_name = "makeE1000e", catch_unwind)]
pub fn make_e1000e(identity: PciIdentity) -> Result<NativePciFunction> {
    let mut config = E1000eConfig::new(identity.name.clone());
    config.identity = identity.over(config.identity)?;
    NativePciFunction::wrap(E1000e::function(config).map_err(throw)?, None, None)
}

/// Makes a DMA engine.
#[napi(catch_unwind)]
pub fn make_dma_engine(identity: PciIdentity) -> Result<NativePciFunction> {
    let mut config = DmaEngineConfig::new(identity.name.clone());
    config.identity = identity.over(config.identity)?;
    NativePciFunction::wrap(DmaEngine::function(config).map_err(throw)?, None, None)
}

/// Makes Intel's I/OAT DMA engine.
#[napi(catch_unwind)]
pub fn make_ioat(identity: PciIdentity) -> Result<NativePciFunction> {
    let mut config = IoatConfig::new(identity.name.clone());
    config.identity = identity.over(config.identity)?;
    NativePciFunction::wrap(Ioat::function(config).map_err(throw)?, None, None)
}
