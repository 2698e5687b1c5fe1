use std::sync::Arc;

use parking_lot::Mutex;
use vfio_iommu::{DmaSpace, FaultLog, FaultReason};
use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::registers::{
    BAR0, COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, INTERRUPT_LINE, PM_CTRL,
    STATUS, STATUS_INTERRUPT, VENDOR_ID,
};
use super::*;
use crate::EventFd;
use crate::mock::{MockSpace, function, rich_spec};

/// Notes the interrupts that reach the host.
#[derive(Default)]
struct Heard {
    lines: Mutex<u32>,
    messages: Mutex<Vec<u32>>,
}

impl InterruptSink for Heard {
    fn line_asserted(&self) {
        *self.lines.lock() += 1;
    }

    fn message(&self, vector: u32) {
        self.messages.lock().push(vector);
    }
}

fn claim(function: &PciFunction) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let weak = Arc::downgrade(&heard);
    function.claim(Some(weak));
    heard
}

fn set_command(function: &PciFunction, bits: u16) {
    function.config_write(COMMAND, &bits.to_le_bytes());
}

#[test]
fn a_write_changes_writable_bits_only() {
    let (function, model) = function(rich_spec());
    function.config_write(VENDOR_ID, &[0xff; 4]);
    assert_eq!(function.config_u32(VENDOR_ID), 0x0010_1b36);
    function.config_write(BAR0, &[0xff; 8]);
    assert_eq!((function.config_u32(BAR0), function.config_u32(BAR0 + 4)), (0xffff_c004, 0xffff_ffff));
    function.config_write(INTERRUPT_LINE, &[7]);
    assert_eq!(function.config_u8(INTERRUPT_LINE), 7);
    assert_eq!(*model.config_writes.lock(), [(VENDOR_ID, 4), (BAR0, 8), (INTERRUPT_LINE, 1)]);
}

#[test]
fn refuses_descriptions_that_make_no_sense() {
    let spoilt = |spoil: &dyn Fn(&mut FunctionSpec)| {
        let mut spec = rich_spec();
        spoil(&mut spec);
        PciFunction::new(spec, |_| unreachable!("refused before")).unwrap_err()
    };
    let cases: [&dyn Fn(&mut FunctionSpec); 8] = [
        &|spec| spec.interrupt_pin = 5,
        &|spec| spec.bars[1] = Some(BarSpec::model(0x1000, BarSpace::Memory32)),
        &|spec| spec.bars[5] = Some(BarSpec::model(0x1000, BarSpace::Memory64)),
        &|spec| spec.bars[3] = Some(BarSpec::model(0x1001, BarSpace::Memory32)),
        &|spec| spec.bars[3] = Some(BarSpec::model(8, BarSpace::Memory32)),
        &|spec| spec.capabilities.push(Capability::raw(9, &[0; 4]).at(0x42)),
        &|spec| spec.capabilities.push(Capability::raw(9, &[0; 8]).at(0x44)),
        &|spec| {
            spec.capabilities[0] = Capability::msix(MsixSpec {
                vectors: 2048,
                table_bar: 0,
                table_offset: 0,
                pba_bar: 0,
                pba_offset: 0x3000,
            })
        },
    ];
    for spoil in cases {
        assert_eq!(spoilt(spoil), Errno::EINVAL);
    }
}

#[test]
fn bars_answer_only_while_the_function_decodes() {
    let (function, model) = function(rich_spec());
    let mut byte = [0; 1];
    function.bar_read(0, 5, &mut byte).unwrap();
    assert_eq!(byte, [5]);
    set_command(&function, COMMAND_IO);
    function.bar_read(0, 5, &mut byte).unwrap();
    assert_eq!(byte, [0xff]);
    function.bar_write(0, 5, &[1]).unwrap();
    function.bar_write(2, 5, &[1]).unwrap();
    assert_eq!(*model.writes.lock(), [(2, 5, vec![1])]);
    assert_eq!(function.bar_read(0, 0x4000, &mut byte), Err(Errno::EINVAL));
    assert_eq!(function.bar_read(1, 0, &mut byte), Err(Errno::EINVAL));
    assert_eq!(function.bar_read(9, u64::MAX, &mut byte), Err(Errno::EINVAL));
}

#[test]
fn the_line_is_level_triggered_and_can_be_held_down() {
    let (function, model) = function(rich_spec());
    let heard = claim(&function);
    let bus = model.bus();
    bus.intx(true);
    assert_eq!(*heard.lines.lock(), 0, "nobody asked for it yet");
    assert_eq!(function.config_u16(STATUS) & STATUS_INTERRUPT, STATUS_INTERRUPT);
    function.request_line(true).run(&function);
    assert_eq!(*heard.lines.lock(), 1);
    bus.intx(true);
    assert_eq!(*heard.lines.lock(), 1, "it is still the same assertion");
    assert!(function.check_and_hold_line());
    assert!(!function.check_and_release_line(), "the function still wants attention");
    function.hold_line(false).run(&function);
    assert_eq!(*heard.lines.lock(), 2);
    bus.intx(false);
    assert!(!function.check_and_hold_line());
    function.mask_line(true).run(&function);
    bus.intx(true);
    assert_eq!(*heard.lines.lock(), 2);
    function.mask_line(false).run(&function);
    assert_eq!(*heard.lines.lock(), 3);
}

#[test]
fn masked_messages_wait_and_disabled_ones_are_lost() {
    let (function, model) = function(rich_spec());
    let heard = claim(&function);
    let bus = model.bus();
    set_command(&function, COMMAND_MEMORY | COMMAND_MASTER);
    bus.msix(3).unwrap();
    function.enable_msix().run(&function);
    bus.msix(5).unwrap();
    assert!(heard.messages.lock().is_empty());
    let mut pending = [0; 8];
    function.bar_read(0, 0x3000, &mut pending).unwrap();
    assert_eq!(u64::from_le_bytes(pending), 1 << 5);
    function.mask_msix(5, false).run(&function);
    assert_eq!(*heard.messages.lock(), [5]);
    bus.msix(5).unwrap();
    assert_eq!(*heard.messages.lock(), [5, 5]);
    assert_eq!(bus.msix(8), Err(Errno::EINVAL));
    set_command(&function, COMMAND_MEMORY);
    bus.msix(5).unwrap();
    set_command(&function, COMMAND_MEMORY | COMMAND_MASTER);
    assert_eq!(heard.messages.lock().len(), 2, "a message without bus mastering goes nowhere");
    assert_eq!(bus.interrupt_mode(), InterruptMode::Msix);
    function.disable_messages().run(&function);
    assert_eq!(bus.interrupt_mode(), InterruptMode::Line);
    assert_eq!(function.config_u16(COMMAND) & COMMAND_INTX_DISABLE, 0);
}

#[test]
fn msi_is_folded_into_the_vectors_granted_and_masked_by_bit() {
    let (function, model) = function(rich_spec());
    let heard = claim(&function);
    let bus = model.bus();
    set_command(&function, COMMAND_MASTER);
    function.enable_msi(2).run(&function);
    bus.msi(3).unwrap();
    assert_eq!(*heard.messages.lock(), [1]);
    assert_eq!(bus.msi(4), Err(Errno::EINVAL));
    function.config_write(0x68 + 16, &1u32.to_le_bytes());
    bus.msi(0).unwrap();
    assert_eq!(function.config_u32(0x68 + 20), 1);
    function.config_write(0x68 + 16, &0u32.to_le_bytes());
    assert_eq!(*heard.messages.lock(), [1, 0]);
    assert_eq!(function.interrupts().messages, 2);
}

#[test]
fn dma_needs_bus_mastering_and_an_attachment() {
    let (function, model) = function(rich_spec());
    let log = Arc::new(FaultLog::new(8));
    function.dma().report_to(Some(Arc::clone(&log)));
    let dma = model.bus().dma().unwrap();
    let reason = |result: Result<(), vfio_iommu::DmaFault>| result.unwrap_err().reason;
    assert_eq!(reason(dma.write(0, &[1])), FaultReason::BusMasterOff);
    set_command(&function, COMMAND_MASTER);
    assert_eq!(reason(dma.write(0, &[1])), FaultReason::NotAttached);
    let space = MockSpace::new();
    dma.attach(Some(space.clone()));
    dma.write(4, &[1, 2, 3, 4]).unwrap();
    assert_eq!(dma.fetch_add_u32(4, 1).unwrap(), 0x0403_0201);
    assert_eq!(space.0.lock()[4], 2);
    function.set_power(PowerState::D3Hot).unwrap().run(&function);
    assert_eq!(reason(dma.read(4, &mut [0; 4])), FaultReason::BusMasterOff);
    assert_eq!(log.total(), 3);
    assert_eq!(&*log.latest().unwrap().device, "rich");
}

#[test]
fn memory_and_doorbells_do_not_reach_the_model() {
    let memory = Memory::anonymous(0x1000).unwrap();
    let (rung, any) = (EventFd::in_process(0).unwrap(), EventFd::in_process(0).unwrap());
    let mut spec = rich_spec();
    let mut bar = BarSpec::model(0x2000, BarSpace::Memory32);
    let window = MemoryWindow { offset: 0x1000, len: 0x1000, memory: memory.clone(), memory_offset: 0 };
    bar.kind = BarKind::Windows(vec![window]);
    bar.doorbells = vec![
        Doorbell { offset: 0, width: 4, value: Some(7), event: rung.clone() },
        Doorbell { offset: 0x1010, width: 2, value: None, event: any.clone() },
    ];
    spec.bars[3] = Some(bar);
    let (function, model) = function(spec);
    function.bar_write(3, 0x1010, &[0xcd, 0xab]).unwrap();
    assert_eq!((memory.load_u16(0x10).unwrap(), any.read()), (0xabcd, Some(1)));
    function.bar_write(3, 0, &7u32.to_le_bytes()).unwrap();
    assert_eq!(rung.read(), Some(1));
    assert!(model.writes.lock().is_empty());
    function.bar_write(3, 0, &8u32.to_le_bytes()).unwrap();
    function.bar_write(3, 0, &[7]).unwrap();
    assert_eq!((rung.read(), model.writes.lock().len()), (None, 2));
}

#[test]
fn a_reset_is_invisible_but_to_the_model() {
    let (function, model) = function(rich_spec());
    set_command(&function, COMMAND_MEMORY | COMMAND_MASTER);
    function.config_write(0x88, &0x000fu16.to_le_bytes());
    function.enable_msix().run(&function);
    function.mask_msix(2, false).run(&function);
    let before: Vec<u8> = read_config(&function);
    assert_eq!(function.reset_method(), Some(ResetMethod::Express));
    function.try_reset().unwrap();
    assert_eq!(*model.resets.lock(), [ResetKind::Function]);
    assert_eq!(read_config(&function), before);
    function.reset(ResetKind::Bus);
    assert_eq!(function.config_u16(COMMAND), 0);
    assert_eq!(function.config_u32(BAR0), 4);
    assert!(!function.dma().is_master());
}

fn read_config(function: &PciFunction) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    function.config_read(0, &mut bytes);
    bytes
}

#[test]
fn the_hardware_bit_resets_the_function() {
    let (function, model) = function(rich_spec());
    function.config_write(0x88, &0x8000u16.to_le_bytes());
    assert_eq!(*model.resets.lock(), [ResetKind::Function]);
    assert_eq!(function.config_u16(0x88), 0);
    assert_eq!(function.config_u16(COMMAND), 0);
}

#[test]
fn waking_from_d3hot_resets_unless_the_function_says_otherwise() {
    for no_soft_reset in [false, true] {
        let mut spec = rich_spec();
        let power = PowerSpec { capabilities: 0x0203, no_soft_reset, control_writable: 0 };
        spec.capabilities = vec![Capability::power(power).at(0x40)];
        let (function, model) = function(spec);
        assert_eq!(function.reset_method(), (!no_soft_reset).then_some(ResetMethod::Power));
        assert_eq!(function.set_power(PowerState::D2).unwrap_err(), Errno::EIO);
        function.set_power(PowerState::D1).unwrap().run(&function);
        function.set_power(PowerState::D3Hot).unwrap().run(&function);
        assert_eq!(function.set_power(PowerState::D1).unwrap_err(), Errno::EINVAL);
        function.config_write(0x40 + PM_CTRL, &[1]);
        assert_eq!(function.power(), PowerState::D3Hot);
        function.set_power(PowerState::D0).unwrap().run(&function);
        let expected: &[ResetKind] = if no_soft_reset { &[] } else { &[ResetKind::Power] };
        assert_eq!(*model.resets.lock(), expected);
        assert_eq!(function.config_u16(COMMAND) & COMMAND_MEMORY != 0, no_soft_reset);
    }
}

#[test]
fn functions_of_a_bus_are_reset_together() {
    let (first, first_model) = function(rich_spec());
    let (second, second_model) = function(rich_spec());
    PciFunction::reset_bus(&[first.clone(), second]);
    assert_eq!(*first_model.resets.lock(), [ResetKind::Bus]);
    assert_eq!(*second_model.resets.lock(), [ResetKind::Bus]);
    assert_eq!(first.config_u16(COMMAND) & COMMAND_MEMORY, COMMAND_MEMORY);
}

#[test]
fn the_rom_ends_in_ones() {
    let mut spec = rich_spec();
    spec.rom = Some(RomSpec { size: 2048, image: vec![0x55, 0xaa, 3] });
    let (function, _) = function(spec);
    let mut bytes = [0; 4];
    function.rom_read(1, &mut bytes).unwrap();
    assert_eq!(bytes, [0xaa, 3, 0xff, 0xff]);
    assert_eq!(function.rom_read(2045, &mut bytes), Err(Errno::EINVAL));
    assert_eq!(function.assign(&[BarAddress { bar: 6, address: 0x1234 }], 0), Err(Errno::EINVAL));
    function.assign(&[BarAddress { bar: 6, address: 0x8000 }], 0).unwrap();
    assert_eq!(function.rom_address(), 0x8000);
}
