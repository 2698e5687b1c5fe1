//! An open device: what belongs to its user, from the first open to the last close.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::VfioPciOptions;
use super::config::VirtualConfig;
use super::ioeventfd::IoEvents;
use super::irqs::Irqs;
use super::low_power::LowPower;
use crate::pci::registers::{
    BAR_COUNT, CLASS_CODE, COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY,
    INTERRUPT_PIN, PM_CTRL_NO_SOFT_RESET,
};
use crate::pci::{BarResource, BarSpace, InterruptSink, PciFunction, PowerState, SavedState};

/// Class code of a VGA controller, without its programming interface.
const CLASS_VGA: u32 = 0x0300;

/// Places the MSI-X table, which users do not reach by reading and writing.
#[derive(Debug, Clone, Copy)]
pub(super) struct TablePlace {
    pub(super) bar: u8,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Holds the state of an open device.
pub(super) struct Session {
    pub(super) function: Arc<PciFunction>,
    /// A weak reference to this session, for callbacks.
    pub(super) this: Weak<Self>,
    pub(super) reset_works: bool,
    /// Opening and closing do not reset the function.
    retain: bool,
    /// The function can hold its interrupt line down by itself.
    pub(super) holds_line: bool,
    pub(super) msix_table: Option<TablePlace>,
    pub(super) has_vga: bool,
    pub(super) rom_size: Option<u32>,
    bars: [Option<BarResource>; BAR_COUNT],
    pin: bool,
    /// State of the function as it was found, restored at close.
    saved: SavedState,
    /// State before D3hot, restored where leaving it resets the function.
    saved_asleep: Mutex<Option<SavedState>>,
    /// The user's memory enable bit.
    memory: AtomicBool,
    pub(super) config: Mutex<VirtualConfig>,
    pub(super) irqs: Mutex<Irqs>,
    pub(super) ioevents: Mutex<IoEvents>,
    pub(super) low_power: Mutex<LowPower>,
    /// Copy of the flag in `low_power`, for accesses that need not wait for the lock.
    pub(super) asleep: AtomicBool,
}

impl Session {
    /// Takes a function over for a user; its state is reset unless it is to be retained.
    pub(super) fn open(function: &Arc<PciFunction>, options: VfioPciOptions, retain: bool) -> Arc<Self> {
        if let Ok(aftermath) = function.set_power(PowerState::D0) {
            aftermath.run(function);
        }
        enable(function);
        let reset_works =
            if retain { function.reset_method().is_some() } else { function.try_reset().is_ok() };
        let saved = function.save();
        let holds_line = can_hold_line(function);
        function.hold_line(false).run(function);

        let pin = function.config_u8(INTERRUPT_PIN) != 0;
        let config = VirtualConfig::new(function, pin);
        let bars = std::array::from_fn(|index| function.resource(index).filter(|bar| bar.start != 0));
        let class = function.config_u32(CLASS_CODE - 1) >> 16;
        let memory = function.config_u16(COMMAND) & COMMAND_MEMORY != 0;
        let session = Arc::new_cyclic(|this| Self {
            function: Arc::clone(function),
            this: this.clone(),
            reset_works,
            retain,
            holds_line,
            msix_table: function.msix_table_place().map(|(bar, start, end)| TablePlace { bar, start, end }),
            has_vga: options.vga && class == CLASS_VGA,
            rom_size: function.rom().filter(|_| function.rom_address() != 0).map(|rom| rom.size),
            bars,
            pin,
            saved,
            saved_asleep: Mutex::new(None),
            memory: AtomicBool::new(memory),
            config: Mutex::new(config),
            irqs: Mutex::new(Irqs::new()),
            ioevents: Mutex::new(IoEvents::default()),
            low_power: Mutex::new(LowPower::default()),
            asleep: AtomicBool::new(false),
        });
        let sink: Weak<dyn InterruptSink> = session.this.clone();
        function.claim(Some(sink));
        session
    }

    /// Gives the function back as it was found.
    pub(super) fn close(&self) {
        let function = &self.function;
        self.end_low_power();
        let command = function.config_u16(COMMAND) & !COMMAND_MASTER;
        function.config_write(COMMAND, &command.to_le_bytes());
        self.disable_irqs();
        let ioevents = std::mem::take(&mut *self.ioevents.lock());
        drop(ioevents);
        function.claim(None);
        self.set_power(PowerState::D0);
        function.config_write(COMMAND, &COMMAND_INTX_DISABLE.to_le_bytes());
        if self.reset_works && !self.retain {
            let _ = function.try_reset();
        }
        self.saved.restore(function);
    }

    /// Returns a BAR that firmware assigned.
    pub(super) fn bar(&self, index: usize) -> Option<BarResource> {
        self.bars.get(index).copied().flatten()
    }

    /// Tells whether the function has an interrupt line.
    pub(super) const fn has_pin(&self) -> bool {
        self.pin
    }

    /// Notes the user's memory enable bit.
    pub(super) fn set_memory_enabled(&self, enabled: bool) {
        self.memory.store(enabled, Ordering::Release);
    }

    /// Tells whether memory BARs can be reached: the user enabled them and the device does not sleep.
    pub(super) fn memory_enabled(&self) -> bool {
        self.memory.load(Ordering::Acquire)
            && !self.asleep.load(Ordering::Acquire)
            && self.function.power() < PowerState::D3Hot
    }

    /// Changes the power state for the user. A function that D3hot resets gets its registers back when it wakes.
    pub(super) fn set_power(&self, wanted: PowerState) {
        let before = self.function.power();
        let forgets =
            self.function.power_control().is_some_and(|control| control & PM_CTRL_NO_SOFT_RESET == 0);
        if forgets && before < PowerState::D3Hot && wanted == PowerState::D3Hot {
            *self.saved_asleep.lock() = Some(self.function.save());
        }
        let Ok(aftermath) = self.function.set_power(wanted) else { return };
        aftermath.run(&self.function);
        if forgets && before == PowerState::D3Hot && wanted == PowerState::D0 {
            let saved = self.saved_asleep.lock().take();
            if let Some(saved) = saved {
                saved.restore(&self.function);
            }
        }
    }
}

/// Lets the function answer in the spaces in which it has BARs, without DMA.
fn enable(function: &PciFunction) {
    let mut command = function.config_u16(COMMAND) & !COMMAND_MASTER;
    for bar in (0..BAR_COUNT).filter_map(|index| function.resource(index)) {
        command |= if bar.space == BarSpace::Io { COMMAND_IO } else { COMMAND_MEMORY };
    }
    function.config_write(COMMAND, &command.to_le_bytes());
}

/// Finds out whether the function can hold its line down, by trying.
fn can_hold_line(function: &PciFunction) -> bool {
    let before = function.config_u16(COMMAND);
    function.hold_line(before & COMMAND_INTX_DISABLE == 0).run(function);
    let changed = (before ^ function.config_u16(COMMAND)) & COMMAND_INTX_DISABLE != 0;
    function.hold_line(before & COMMAND_INTX_DISABLE != 0).run(function);
    changed
}
