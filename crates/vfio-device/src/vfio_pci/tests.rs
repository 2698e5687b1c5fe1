//! Behaviours of the driver, one file for each part of it.

mod config;
mod config_model;
mod features;
mod irq_sequences;
mod irqs;
mod regions;

use std::sync::Arc;

use vfio_uapi::vfio::pci::VFIO_PCI_CONFIG_REGION_INDEX;

use super::{VfioPci, VfioPciOptions};
use crate::mock::{MockModel, MockSpace, function};
use crate::models::{Edu, EduConfig};
use crate::ops::VfioDeviceOps;
use crate::pci::{BarAddress, FunctionSpec};

/// Opens a device over a function of a description.
fn open(spec: FunctionSpec) -> (VfioPci, Arc<MockModel>) {
    let (function, model) = function(spec);
    let device = VfioPci::new(function, VfioPciOptions::default());
    device.open_device(Some(MockSpace::new())).expect("it is closed");
    model.resets.lock().clear();
    model.config_writes.lock().clear();
    (device, model)
}

/// Opens an `edu`, and the memory that it sees.
fn open_edu() -> (VfioPci, Arc<MockSpace>) {
    let function = Edu::function(EduConfig::new("edu")).expect("the description makes sense");
    function.assign(&[BarAddress { bar: 0, address: 0xfe80_0000 }], 10).expect("the address fits");
    let device = VfioPci::new(function, VfioPciOptions::default());
    let space = MockSpace::new();
    device.open_device(Some(space.clone())).expect("it is closed");
    (device, space)
}

fn read_config(device: &VfioPci, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let count = device.read(VFIO_PCI_CONFIG_REGION_INDEX, offset, &mut bytes).expect("it lies within");
    assert_eq!(count, len);
    bytes
}

fn config_u32(device: &VfioPci, offset: u64) -> u32 {
    u32::from_le_bytes(read_config(device, offset, 4).try_into().expect("four bytes"))
}

fn write_config(device: &VfioPci, offset: u64, bytes: &[u8]) {
    assert_eq!(device.write(VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes), Ok(bytes.len()));
}
