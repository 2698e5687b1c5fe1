//! Raw calls on PCI functions, on vfio-pci over them, and on mapped regions.
//!
//! A model in JavaScript may run in any of these, and may take the caller's array away meanwhile. So bytes are worked
//! on in a copy, and the array is asked for again afterwards.

use vfio_device::VfioDeviceOps;
use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Refusal, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"pciConfigRead", "pci offset width", config_read),
    Entry::new(c"pciConfigWrite", "pci offset width value", config_write),
    Entry::new(c"pciBarRead", "pci bar offset into", bar_read),
    Entry::new(c"pciBarWrite", "pci bar offset from", bar_write),
    Entry::new(c"pciSetIntx", "pci level", set_intx),
    Entry::new(c"pciTriggerMsi", "pci vector", trigger_msi),
    Entry::new(c"pciTriggerMsix", "pci vector", trigger_msix),
    Entry::new(c"pciIsAttached", "pci", is_attached),
    Entry::new(c"vfioPciRead", "device region offset into", region_read),
    Entry::new(c"vfioPciWrite", "device region offset from", region_write),
    Entry::new(c"regionMappingRead", "mapping offset into", mapping_read),
    Entry::new(c"regionMappingWrite", "mapping offset from", mapping_write),
];

/// Most accesses are registers; they need no allocation.
const SMALL: usize = 64;

/// Has `work` fill as many bytes as argument `at` has, and stores what it filled.
fn fill<T>(
    call: &Call,
    at: usize,
    work: impl FnOnce(&mut [u8]) -> Result<T, Errno>,
    filled: impl FnOnce(&T) -> usize,
) -> Result<T, Refusal> {
    let length = call.bytes(at)?.len();
    let mut small = [0; SMALL];
    let mut large = Vec::new();
    let bytes = match small.get_mut(..length) {
        Some(bytes) => bytes,
        None => {
            large.resize(length, 0);
            &mut large[..]
        }
    };
    let result = work(bytes)?;
    call.bytes(at)?.store(&bytes[..filled(&result).min(length)]);
    Ok(result)
}

/// Has `work` take a copy of the bytes of argument `at`.
fn take<T>(call: &Call, at: usize, work: impl FnOnce(&[u8]) -> Result<T, Errno>) -> Result<T, Refusal> {
    let given = call.bytes(at)?;
    let mut small = [0; SMALL];
    if given.copy_to(&mut small) {
        return Ok(work(&small[..given.len()])?);
    }
    Ok(work(&given.to_vec())?)
}

/// Takes the place of a configuration access: an offset, and a width of 1, 2 or 4.
fn config_place(call: &Call) -> Result<(u16, usize), Refusal> {
    let (offset, width) = (call.u16(1)?, call.u32(2)?);
    if !matches!(width, 1 | 2 | 4) {
        return Err(Refusal::Range(2, "1, 2 or 4"));
    }
    Ok((offset, width as usize))
}

fn config_read(call: &Call) -> Answer {
    let (object, (offset, width)) = (call.object(0)?, config_place(call)?);
    let mut bytes = [0; 4];
    object.pci()?.function.config_read(offset, &mut bytes[..width]);
    Ok(Value::U32(u32::from_le_bytes(bytes)))
}

fn config_write(call: &Call) -> Answer {
    let (object, (offset, width)) = (call.object(0)?, config_place(call)?);
    let value = call.u32(3)?.to_le_bytes();
    object.pci()?.function.config_write(offset, &value[..width]);
    Value::DONE
}

fn bar_read(call: &Call) -> Answer {
    let (object, bar, offset) = (call.object(0)?, call.u8(1)?, call.u64(2)?);
    let function = &object.pci()?.function;
    let length = call.bytes(3)?.len();
    fill(call, 3, |into| function.bar_read(bar, offset, into), |()| length)?;
    Ok(Value::count(length))
}

fn bar_write(call: &Call) -> Answer {
    let (object, bar, offset) = (call.object(0)?, call.u8(1)?, call.u64(2)?);
    let function = &object.pci()?.function;
    let length = call.bytes(3)?.len();
    take(call, 3, |from| function.bar_write(bar, offset, from))?;
    Ok(Value::count(length))
}

fn set_intx(call: &Call) -> Answer {
    let (object, level) = (call.object(0)?, call.u8(1)?);
    object.pci()?.bus()?.intx(level != 0);
    Value::DONE
}

fn trigger_msi(call: &Call) -> Answer {
    let (object, vector) = (call.object(0)?, call.u32(1)?);
    object.pci()?.bus()?.msi(vector)?;
    Value::DONE
}

fn trigger_msix(call: &Call) -> Answer {
    let (object, vector) = (call.object(0)?, call.u32(1)?);
    object.pci()?.bus()?.msix(vector)?;
    Value::DONE
}

fn is_attached(call: &Call) -> Answer {
    Ok(Value::Int(call.object(0)?.pci()?.function.dma().is_attached().into()))
}

fn region_read(call: &Call) -> Answer {
    let (object, region, offset) = (call.object(0)?, call.u32(1)?, call.u64(2)?);
    let device = object.vfio_pci()?;
    let count = fill(call, 3, |into| device.read(region, offset, into), |count| *count)?;
    Ok(Value::count(count))
}

fn region_write(call: &Call) -> Answer {
    let (object, region, offset) = (call.object(0)?, call.u32(1)?, call.u64(2)?);
    let device = object.vfio_pci()?;
    Ok(Value::count(take(call, 3, |from| device.write(region, offset, from))?))
}

fn mapping_read(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let mapping = object.mapping()?;
    let length = call.bytes(2)?.len();
    fill(call, 2, |into| mapping.read(offset, into), |()| length)?;
    Value::DONE
}

fn mapping_write(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let mapping = object.mapping()?;
    take(call, 2, |from| mapping.write(offset, from))?;
    Value::DONE
}
