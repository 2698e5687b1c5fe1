//! A simulated PCI function.

use std::fmt;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_iommu::Stopped;
use vfio_uapi::Errno;

use super::aftermath::Aftermath;
use super::bar::{BarKind, BarSpace, BarSpec};
use super::bus::DeviceBus;
use super::capability::MsixSpec;
use super::config_space::ConfigSpace;
use super::dma_port::DmaPort;
use super::interrupt::{InterruptLine, InterruptSink};
use super::model::PciModel;
use super::msix_table::MsixTable;
use super::registers::{
    BAR_COUNT, COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, MSI_FLAGS,
    MSI_FLAGS_CAPABLE, MSI_FLAGS_ENABLE, MSIX_BIR, MSIX_FLAGS, MSIX_FLAGS_ENABLE, MSIX_FLAGS_SIZE, MSIX_PBA,
    MSIX_TABLE, PM_CTRL, PM_CTRL_STATE, STATUS, STATUS_INTERRUPT,
};
use super::spec::{CapabilityMap, FunctionSpec, RomSpec};

/// Names a power state of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PowerState {
    /// Fully on.
    D0,
    /// Light sleep.
    D1,
    /// Deeper sleep.
    D2,
    /// Asleep: only configuration space answers.
    D3Hot,
}

impl PowerState {
    pub(crate) const fn from_bits(bits: u16) -> Self {
        match bits & PM_CTRL_STATE {
            0 => Self::D0,
            1 => Self::D1,
            2 => Self::D2,
            _ => Self::D3Hot,
        }
    }

    pub(crate) const fn bits(self) -> u16 {
        self as u16
    }
}

/// Says how a function is set up to interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptMode {
    /// Not at all: it has no pin, and no message is enabled.
    None,
    /// By its line.
    Line,
    /// By MSI.
    Msi,
    /// By MSI-X.
    Msix,
}

/// Shows the interrupts of a function as the hardware sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptState {
    /// How it is set up.
    pub mode: InterruptMode,
    /// Level that the function puts on its line.
    pub line: bool,
    /// Messages that left the function since it was made.
    pub messages: u64,
}

/// Simulates a PCI function: registers, BARs, interrupts, DMA.
pub struct PciFunction {
    name: String,
    bars: [Option<BarSpec>; BAR_COUNT],
    rom: Option<RomSpec>,
    pub(super) caps: CapabilityMap,
    /// Registers as they are after a reset.
    pub(super) pristine: ConfigSpace,
    pub(super) state: Mutex<State>,
    /// Copy of the command register with power taken into account, for accesses that need not wait for the lock.
    decode: AtomicU16,
    vpd: Mutex<Vec<u8>>,
    dma: Arc<DmaPort>,
    model: Arc<dyn PciModel>,
}

/// Changes together under the function's lock.
pub(super) struct State {
    pub(super) config: ConfigSpace,
    pub(super) line: InterruptLine,
    pub(super) msix: Option<MsixTable>,
    pub(super) messages: u64,
    sink: Option<Weak<dyn InterruptSink>>,
    /// Where firmware put the BARs and the ROM.
    pub(super) assigned: [u64; BAR_COUNT + 1],
    /// The host can reset the bus of this function without touching others.
    pub(super) bus_reset: bool,
    /// Whoever uses the function sees it on a bus of its own.
    pub(super) alone: bool,
}

impl PciFunction {
    /// Makes a function; `model` makes what emulates it, given its bus.
    ///
    /// # Errors
    /// `EINVAL` the description makes no sense.
    pub fn new(
        spec: FunctionSpec,
        model: impl FnOnce(DeviceBus) -> Arc<dyn PciModel>,
    ) -> Result<Arc<Self>, Errno> {
        let (config, caps) = spec.lay_out()?;
        let msix = match caps.msix {
            Some(at) => Some(msix_table(&config, at, &spec.bars)?),
            None => None,
        };
        let state = State {
            config: config.clone(),
            line: InterruptLine::default(),
            msix,
            messages: 0,
            sink: None,
            assigned: [0; BAR_COUNT + 1],
            bus_reset: false,
            alone: false,
        };
        Ok(Arc::new_cyclic(|this| Self {
            dma: Arc::new(DmaPort::new(&spec.name)),
            name: spec.name,
            bars: spec.bars,
            rom: spec.rom,
            caps,
            pristine: config,
            state: Mutex::new(state),
            decode: AtomicU16::new(0),
            vpd: Mutex::new(spec.vital_product_data),
            model: model(DeviceBus::new(this.clone())),
        }))
    }

    /// Returns the name for messages and faults.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what emulates the function.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn PciModel> {
        &self.model
    }

    /// Returns the function as a model sees it, for models that are driven from outside.
    #[must_use]
    pub fn bus(self: &Arc<Self>) -> DeviceBus {
        DeviceBus::new(Arc::downgrade(self))
    }

    /// Returns where the function's DMA leaves it.
    #[must_use]
    pub fn dma(&self) -> &Arc<DmaPort> {
        &self.dma
    }

    /// Returns the description of a BAR.
    #[must_use]
    pub fn bar(&self, index: usize) -> Option<&BarSpec> {
        self.bars.get(index)?.as_ref()
    }

    /// Returns the description of the expansion ROM.
    #[must_use]
    pub fn rom(&self) -> Option<&RomSpec> {
        self.rom.as_ref()
    }

    /// Reads four bytes of vital product data, if there are any at `at`.
    #[must_use]
    pub fn vpd_read(&self, at: u16) -> Option<[u8; 4]> {
        let vpd = self.vpd.lock();
        vpd.get(usize::from(at)..usize::from(at) + 4)?.try_into().ok()
    }

    /// Writes four bytes of vital product data; tells whether there are any at `at`.
    pub fn vpd_write(&self, at: u16, bytes: [u8; 4]) -> bool {
        let mut vpd = self.vpd.lock();
        let place = vpd.get_mut(usize::from(at)..usize::from(at) + 4);
        place.map(|place| place.copy_from_slice(&bytes)).is_some()
    }

    /// Tells the function whether the host can reset its bus without touching other functions.
    pub fn set_bus_reset(&self, possible: bool) {
        self.state.lock().bus_reset = possible;
    }

    /// Tells whether whoever uses the function sees it on a bus of its own, which can be reset.
    pub fn set_alone(&self, alone: bool) {
        self.state.lock().alone = alone;
    }

    /// Has `sink` hear of the function's interrupts; none ends that. The line stays quiet until it is asked for.
    pub fn claim(&self, sink: Option<Weak<dyn InterruptSink>>) {
        let old = {
            let mut state = self.state.lock();
            state.line.requested = false;
            state.line.masked = false;
            let held_down = state.held_down();
            state.line.update(held_down);
            std::mem::replace(&mut state.sink, sink)
        };
        drop(old);
    }

    pub(super) fn sink(&self) -> Option<Arc<dyn InterruptSink>> {
        self.state.lock().sink.as_ref()?.upgrade()
    }

    /// Shows the function's interrupts.
    #[must_use]
    pub fn interrupts(&self) -> InterruptState {
        let state = self.state.lock();
        let mode = if self.msi_flags(&state) & MSI_FLAGS_ENABLE != 0 {
            InterruptMode::Msi
        } else if self.msix_flags(&state) & MSIX_FLAGS_ENABLE != 0 {
            InterruptMode::Msix
        } else if state.config.u8(super::registers::INTERRUPT_PIN) != 0 {
            InterruptMode::Line
        } else {
            InterruptMode::None
        };
        InterruptState { mode, line: state.line.level, messages: state.messages }
    }

    pub(super) fn msi_flags(&self, state: &State) -> u16 {
        self.caps.msi.map_or(0, |at| state.config.u16(at + MSI_FLAGS))
    }

    pub(super) fn msix_flags(&self, state: &State) -> u16 {
        self.caps.msix.map_or(0, |at| state.config.u16(at + MSIX_FLAGS))
    }

    /// Returns the power state that the hardware is in.
    #[must_use]
    pub fn power(&self) -> PowerState {
        self.power_of(&self.state.lock().config)
    }

    /// Returns the power management control register, if there is one.
    #[must_use]
    pub fn power_control(&self) -> Option<u16> {
        let at = self.caps.power?;
        Some(self.state.lock().config.u16(at + PM_CTRL))
    }

    /// Returns the vectors that the function has: of MSI, and of MSI-X.
    #[must_use]
    pub fn message_vectors(&self) -> (u32, u32) {
        let state = self.state.lock();
        let msi = self.caps.msi.map_or(0, |_| 1 << ((self.msi_flags(&state) & MSI_FLAGS_CAPABLE) >> 1));
        (msi, state.msix.as_ref().map_or(0, MsixTable::vectors))
    }

    /// Places the MSI-X table: its BAR, first byte and the byte behind its last.
    #[must_use]
    pub fn msix_table_place(&self) -> Option<(u8, u64, u64)> {
        self.state.lock().msix.as_ref().map(MsixTable::place)
    }

    pub(super) fn power_of(&self, config: &ConfigSpace) -> PowerState {
        self.caps.power.map_or(PowerState::D0, |at| PowerState::from_bits(config.u16(at + PM_CTRL)))
    }

    /// Brings what depends on registers up to date after they changed.
    pub(super) fn settle(&self, state: &mut State) -> Aftermath {
        let level = if state.line.level { STATUS_INTERRUPT } else { 0 };
        state.config.set_bits(STATUS, STATUS_INTERRUPT, level);
        let awake = self.power_of(&state.config) == PowerState::D0;
        let command = if awake { state.config.u16(COMMAND) } else { 0 };
        self.decode.store(command, Ordering::Release);
        self.dma.set_master(command & COMMAND_MASTER != 0);
        let held_down = state.held_down();
        let line_asserted = state.line.update(held_down);
        let messages = self.deliverable(state);
        state.messages += messages.len() as u64;
        Aftermath { line_asserted, messages, ..Aftermath::default() }
    }

    /// Tells whether the function answers in the space of a BAR: it decodes, and no error has cut it off.
    pub(super) fn decodes(&self, space: BarSpace) -> bool {
        let bit = if space == BarSpace::Io { COMMAND_IO } else { COMMAND_MEMORY };
        self.decode.load(Ordering::Acquire) & bit != 0 && !self.registers_stopped()
    }

    /// Tells whether an error has cut its registers off: reads give ones, writes are dropped.
    #[must_use]
    pub fn registers_stopped(&self) -> bool {
        self.dma.stopped().contains(Stopped::IO)
    }

    /// Tells whether messages, which are writes to memory, get anywhere.
    pub(super) fn messages_pass(&self, state: &State) -> bool {
        state.config.u16(COMMAND) & COMMAND_MASTER != 0 && !self.dma.stopped().contains(Stopped::DMA)
    }
}

impl State {
    /// Tells whether the command register holds the line down.
    pub(super) fn held_down(&self) -> bool {
        self.config.u16(COMMAND) & COMMAND_INTX_DISABLE != 0
    }
}

/// Makes the table that an MSI-X capability speaks of.
fn msix_table(config: &ConfigSpace, at: u16, bars: &[Option<BarSpec>]) -> Result<MsixTable, Errno> {
    let (table, pba) = (config.u32(at + MSIX_TABLE), config.u32(at + MSIX_PBA));
    let spec = MsixSpec {
        vectors: (config.u16(at + MSIX_FLAGS) & MSIX_FLAGS_SIZE) + 1,
        table_bar: (table & MSIX_BIR) as u8,
        table_offset: table & !MSIX_BIR,
        pba_bar: (pba & MSIX_BIR) as u8,
        pba_offset: pba & !MSIX_BIR,
    };
    let fits = |bar: u8, offset: u32, size: u64| {
        let bar = bars.get(usize::from(bar)).and_then(Option::as_ref);
        bar.is_some_and(|bar| {
            bar.space != BarSpace::Io
                && !matches!(bar.kind, BarKind::Memory(_))
                && u64::from(offset) + size <= bar.size
        })
    };
    let (table_size, pba_size) = (u64::from(spec.vectors) * 16, u64::from(spec.vectors).div_ceil(64) * 8);
    if !fits(spec.table_bar, spec.table_offset, table_size) || !fits(spec.pba_bar, spec.pba_offset, pba_size)
    {
        return Err(Errno::EINVAL);
    }
    Ok(MsixTable::new(spec))
}

impl fmt::Debug for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PciFunction").field("name", &self.name).finish_non_exhaustive()
    }
}
