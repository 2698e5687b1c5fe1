use vfio_uapi::Errno;

use super::{config_u32, open, read_config, write_config};
use crate::mock::rich_spec;
use crate::ops::VfioDeviceOps;
use crate::pci::{Capability, ExtendedCapability, PowerSpec, PowerState, ResetKind};

const CONFIG: u32 = 7;

#[test]
fn an_access_beyond_the_end_does_nothing() {
    let (device, _) = open(rich_spec());
    let mut bytes = [0; 4];
    for (offset, len) in [(0xffe, 4), (0x1000, 1), (u64::MAX, 1), (0xfff, 2)] {
        assert_eq!(device.read(CONFIG, offset, &mut bytes[..len]), Err(Errno::EFAULT));
        assert_eq!(device.write(CONFIG, offset, &bytes[..len]), Err(Errno::EFAULT));
    }
    assert_eq!(device.read(CONFIG, 0x1000, &mut []), Ok(0));
}

#[test]
fn bars_are_sized_and_moved_without_touching_the_hardware() {
    let (device, _) = open(rich_spec());
    let before = device.function().config_u32(0x10);
    write_config(&device, 0x10, &[0xff; 8]);
    assert_eq!((config_u32(&device, 0x10), config_u32(&device, 0x14)), (0xffff_c004, 0xffff_ffff));
    write_config(&device, 0x18, &[0xff; 4]);
    assert_eq!(config_u32(&device, 0x18), 0xffff_ffe1);
    write_config(&device, 0x13, &[0x12]);
    assert_eq!(config_u32(&device, 0x10), 0x12ff_c004);
    assert_eq!(device.function().config_u32(0x10), before);
}

#[test]
fn unknown_capabilities_are_skipped_and_vendor_ones_passed_through() {
    let mut spec = rich_spec();
    spec.capabilities = vec![
        Capability::raw(0x14, &[0xee; 6]).at(0x40),
        Capability::vendor(&[1, 2, 3, 4, 5], &[0xff; 5]).at(0x50),
        Capability::raw(0x0c, &[0xee; 6]).at(0x60),
        Capability::power(PowerSpec::default()).at(0x70),
    ];
    let (device, _) = open(spec);
    assert_eq!(read_config(&device, 0x34, 1), [0x50]);
    assert_eq!(read_config(&device, 0x50, 2), [9, 0x70]);
    write_config(&device, 0x50, &[0xff, 0xff, 0xff, 0xaa]);
    assert_eq!(read_config(&device, 0x50, 4), [9, 0x70, 8, 0xaa]);
    // What was hidden belongs to nobody and is passed through like every byte without an owner.
    assert_eq!(read_config(&device, 0x42, 2), [0xee, 0xee]);
}

#[test]
fn a_function_of_hidden_capabilities_only_has_no_list() {
    let mut spec = rich_spec();
    spec.capabilities = vec![Capability::raw(0x0c, &[0; 6])];
    let (device, _) = open(spec);
    assert_eq!(config_u32(&device, 4) >> 16 & 0x10, 0);
    assert_eq!(read_config(&device, 0x34, 1), [0]);
}

#[test]
fn a_hidden_first_extended_capability_keeps_an_anonymous_header() {
    let mut spec = rich_spec();
    spec.extended_capabilities = vec![
        ExtendedCapability::raw(0x19, 1, &[0; 12]),
        ExtendedCapability::raw(0x1b, 1, &[0; 4]),
        ExtendedCapability::serial_number(0x1122_3344_5566_7788),
        ExtendedCapability::raw(0x01, 2, &[0xff; 40]),
    ];
    let (device, _) = open(spec);
    assert_eq!(config_u32(&device, 0x100), 0x118 << 20);
    assert_eq!(config_u32(&device, 0x118), 0x124 << 20 | 1 << 16 | 3);
    assert_eq!(config_u32(&device, 0x11c), 0x5566_7788);
    write_config(&device, 0x118, &[0xff; 4]);
    assert_eq!(config_u32(&device, 0x118), 0x124 << 20 | 1 << 16 | 3);
}

#[test]
fn without_express_the_extended_space_is_passed_through() {
    let mut spec = rich_spec();
    spec.capabilities.clear();
    spec.extended_capabilities = vec![ExtendedCapability::serial_number(7)];
    let (device, _) = open(spec);
    write_config(&device, 0x200, &[0x5a]);
    assert_eq!(read_config(&device, 0x200, 1), [0x5a]);
    assert_eq!(config_u32(&device, 0x100), 0x1_0003);
}

#[test]
fn power_management_events_are_not_for_users() {
    let (device, _) = open(rich_spec());
    assert_eq!(config_u32(&device, 0x60) >> 16, 0x0003);
    write_config(&device, 0x64, &[0x03, 0xff]);
    assert_eq!(device.function().power(), PowerState::D3Hot);
    assert_eq!(read_config(&device, 0x64, 2), [0x0b, 0]);
    let mut byte = [0];
    assert_eq!(device.read(0, 0, &mut byte), Err(Errno::EIO));
    write_config(&device, 0x64, &[0]);
    assert_eq!(device.read(0, 0, &mut byte), Ok(1));
}

#[test]
fn a_function_that_forgets_in_d3hot_gets_its_registers_back() {
    let mut spec = rich_spec();
    spec.capabilities = vec![Capability::power(PowerSpec::default()).at(0x60)];
    let (device, model) = open(spec);
    write_config(&device, 4, &[0x06]);
    let bar = device.function().config_u32(0x10);
    write_config(&device, 0x64, &[0x03]);
    write_config(&device, 0x64, &[0x00]);
    assert_eq!(*model.resets.lock(), [ResetKind::Power]);
    assert_eq!(device.function().config_u32(0x10), bar);
    assert_eq!(config_u32(&device, 4) & 0x7, 6);
    assert_eq!(device.function().config_u16(4) & 0x7, 6);
}

#[test]
fn function_level_reset_goes_through_the_driver() {
    let (device, model) = open(rich_spec());
    write_config(&device, 4, &[0x06]);
    write_config(&device, 0x88, &[0, 0x80]);
    assert_eq!(*model.resets.lock(), [ResetKind::Function]);
    assert_eq!(read_config(&device, 0x88, 2), [0, 0]);
    assert_eq!(device.function().config_u16(4) & 0x7, 6);
}

#[test]
fn the_read_request_size_has_the_payload_size_as_its_floor() {
    let mut spec = rich_spec();
    let mut express = crate::pci::ExpressSpec::endpoint();
    express.device_control_writable = 0x70ff;
    spec.capabilities = vec![Capability::express(express).at(0x40)];
    let (function, _) = crate::mock::function(spec);
    function.config_write(0x48, &0x2040u16.to_le_bytes());
    let device = super::VfioPci::new(function, super::VfioPciOptions::default());
    device.open_device(None).unwrap();
    write_config(&device, 0x48, &0x00e0u16.to_le_bytes());
    assert_eq!(read_config(&device, 0x48, 2), 0x00e0u16.to_le_bytes());
    assert_eq!(device.function().config_u16(0x48), 0x2040);
    write_config(&device, 0x48, &0x5000u16.to_le_bytes());
    assert_eq!(device.function().config_u16(0x48), 0x5040);
    write_config(&device, 0x48, &0x7000u16.to_le_bytes());
    assert_eq!(device.function().config_u16(0x48), 0x5040);
}

#[test]
fn vital_product_data_are_transferred_by_the_driver() {
    let mut spec = rich_spec();
    spec.capabilities = vec![Capability::raw(3, &[0; 6]).at(0x40)];
    spec.vital_product_data = (0..16).collect();
    let (device, _) = open(spec);
    write_config(&device, 0x42, &[4, 0]);
    assert_eq!(read_config(&device, 0x42, 6), [4, 0x80, 4, 5, 6, 7]);
    write_config(&device, 0x44, &[9, 8, 7, 6]);
    write_config(&device, 0x42, &[8, 0x80]);
    assert_eq!(read_config(&device, 0x42, 2), [8, 0]);
    assert_eq!(device.function().vpd_read(8), Some([9, 8, 7, 6]));
    write_config(&device, 0x42, &[13, 0]);
    assert_eq!(read_config(&device, 0x42, 2), [13, 0], "a transfer that fails never ends");
}

#[test]
fn capabilities_that_do_not_fit_do_no_harm() {
    // An MSI-X capability without a table is refused when the function is made.
    for id in (0..=0xffu8).filter(|id| *id != 0x11) {
        let mut spec = rich_spec();
        spec.capabilities = vec![Capability::raw(id, &[0xff, 0xff]).at(0xfc)];
        let (device, _) = open(spec);
        let before = read_config(&device, 0, 256);
        for offset in 0xe0..0x100 {
            write_config(&device, offset, &[0xff]);
        }
        write_config(&device, 0xf0, &[0xa5; 16]);
        let after = read_config(&device, 0, 256);
        assert_eq!(after[..0x30], before[..0x30]);
    }
}

#[test]
fn a_backdoor_reset_is_undone_when_the_user_enables_memory() {
    let (device, _) = open(rich_spec());
    write_config(&device, 4, &[0x06]);
    let bar = device.function().config_u32(0x10);
    device.function().reset(ResetKind::Bus);
    assert_ne!(device.function().config_u32(0x10), bar);
    write_config(&device, 4, &[0x06]);
    assert_eq!(device.function().config_u32(0x10), bar);
}
