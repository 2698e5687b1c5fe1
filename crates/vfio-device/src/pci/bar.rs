//! Base address registers: what lies behind them, and how an access finds it.

use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::EventFd;

/// Says in which space a BAR lies, and how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarSpace {
    /// I/O space.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
}

/// Says what lies behind a BAR.
#[derive(Debug, Clone)]
pub enum BarKind {
    /// The model answers every access.
    Model,
    /// Plain memory: no access reaches the model, and a program can map it.
    Memory(Memory),
    /// The model answers, except where a window of memory lies.
    Windows(Vec<MemoryWindow>),
}

/// Places memory into a BAR.
#[derive(Debug, Clone)]
pub struct MemoryWindow {
    /// First byte within the BAR.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Where they are.
    pub memory: Memory,
    /// First byte within the memory.
    pub memory_offset: u64,
}

/// Signals an event when a register is written, instead of calling the model.
#[derive(Debug, Clone)]
pub struct Doorbell {
    /// Where the register lies in the BAR.
    pub offset: u64,
    /// Bytes of the write that rings: 1, 2, 4 or 8.
    pub width: u8,
    /// The value that rings; none: every value.
    pub value: Option<u64>,
    /// What is signalled. Memory behind the register keeps the value as well.
    pub event: EventFd,
}

/// Describes a base address register.
#[derive(Debug, Clone)]
pub struct BarSpec {
    /// Bytes: a power of two, at least 16 in memory and 4 in I/O space.
    pub size: u64,
    /// In which space it lies.
    pub space: BarSpace,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// What lies behind it.
    pub kind: BarKind,
    /// Registers whose writes signal an event.
    pub doorbells: Vec<Doorbell>,
}

impl BarSpec {
    /// Describes a BAR that the model answers.
    #[must_use]
    pub const fn model(size: u64, space: BarSpace) -> Self {
        Self { size, space, prefetchable: false, kind: BarKind::Model, doorbells: Vec::new() }
    }

    /// Describes a BAR of plain memory, as large as the memory is.
    #[must_use]
    pub fn memory(memory: Memory, space: BarSpace) -> Self {
        Self {
            size: memory.len(),
            space,
            prefetchable: false,
            kind: BarKind::Memory(memory),
            doorbells: Vec::new(),
        }
    }

    /// Checks the description.
    ///
    /// # Errors
    /// `EINVAL` the size is no power of two, too small or too large for the space; memory is too short; a doorbell or
    /// window lies outside.
    pub(super) fn check(&self) -> Result<(), Errno> {
        let (least, most) = match self.space {
            BarSpace::Io => (4, 1 << 16),
            BarSpace::Memory32 => (16, 1 << 31),
            BarSpace::Memory64 => (16, 1 << 62),
        };
        let memory_fits = match &self.kind {
            BarKind::Model => true,
            BarKind::Memory(memory) => memory.len() >= self.size,
            BarKind::Windows(windows) => windows.iter().all(|window| window.fits(self.size)),
        };
        let doorbells_fit = self.doorbells.iter().all(|bell| {
            matches!(bell.width, 1 | 2 | 4 | 8)
                && bell.offset.checked_add(u64::from(bell.width)).is_some_and(|end| end <= self.size)
        });
        if !self.size.is_power_of_two()
            || self.size < least
            || self.size > most
            || !memory_fits
            || !doorbells_fit
        {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Finds the memory that lies behind a whole access, with the access's offset in it.
    pub(super) fn memory_at(&self, offset: u64, len: usize) -> Option<(&Memory, u64)> {
        match &self.kind {
            BarKind::Model => None,
            BarKind::Memory(memory) => Some((memory, offset)),
            BarKind::Windows(windows) => windows.iter().find_map(|window| {
                let within = offset.checked_sub(window.offset)?;
                let end = within.checked_add(len as u64)?;
                (end <= window.len).then_some((&window.memory, window.memory_offset + within))
            }),
        }
    }

    /// Rings the doorbells that a write reaches; tells whether there was one.
    pub(super) fn ring(&self, offset: u64, from: &[u8]) -> bool {
        let mut rung = false;
        for bell in &self.doorbells {
            if bell.offset != offset || usize::from(bell.width) != from.len() {
                continue;
            }
            let mut value = [0; 8];
            value[..from.len()].copy_from_slice(from);
            if bell.value.is_none_or(|wanted| wanted == u64::from_le_bytes(value)) {
                bell.event.signal(1);
                rung = true;
            }
        }
        rung
    }
}

impl MemoryWindow {
    fn fits(&self, size: u64) -> bool {
        let inside = |start: u64, limit: u64| start.checked_add(self.len).is_some_and(|end| end <= limit);
        self.len != 0 && inside(self.offset, size) && inside(self.memory_offset, self.memory.len())
    }
}
