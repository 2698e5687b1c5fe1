//! The channel: its registers, and which descriptor is next.

use vfio_iommu::DmaSpace;

use super::descriptor::Descriptor;

/// Offsets from the channel's first register.
const CONTROL: u64 = 0x00;
const COMPATIBILITY: u64 = 0x02;
const COMMAND: u64 = 0x04;
const COUNT: u64 = 0x06;
const STATUS: u64 = 0x08;
const CHAIN: u64 = 0x10;
const COMPLETION: u64 = 0x18;
const ERRORS: u64 = 0x28;
const ERROR_MASK: u64 = 0x2c;
const SIZE: usize = 0x30;

/// Bits of the control register.
const REARM: u16 = 0x0001;
const ERROR_WRITEBACK: u16 = 0x0004;
const ABORT_ON_ERROR: u16 = 0x0008;
const ERROR_INTERRUPT: u16 = 0x0010;

/// Bits of the command register.
const SUSPEND: u8 = 0x04;
const ABORT: u8 = 0x08;
const RESUME: u8 = 0x10;
const RESET: u8 = 0x20;

/// Bits of the error register.
const ERROR_NEXT: u32 = 1 << 2;
pub(super) const ERROR_READ: u32 = 1 << 8;
pub(super) const ERROR_WRITE: u32 = 1 << 9;
pub(super) const ERROR_CONTROL: u32 = 1 << 10;
pub(super) const ERROR_LENGTH: u32 = 1 << 11;

/// Version 2 of the programming interface.
const COMPATIBLE: u8 = 0x02;
const DESCRIPTOR_MASK: u64 = !0x3f;

/// What the channel is doing, as the status register tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Active = 0,
    Done = 1,
    Suspended = 2,
    Halted = 3,
}

/// Registers as bytes, and what is behind them.
#[derive(Debug)]
pub(super) struct Channel {
    /// Control, count, chain, completion address and mask as they were written.
    bytes: [u8; SIZE],
    doing: Doing,
    errors: u32,
    /// The last descriptor done.
    last: u64,
    /// Where the next one lies, and how many are done since the chain's address was written.
    at: u64,
    done: u16,
    /// The interrupt may be sent.
    armed: bool,
    /// Counts resets and new chains, so that work that one cut short changes nothing.
    generation: u64,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            bytes: [0; SIZE],
            doing: Doing::Halted,
            errors: 0,
            last: 0,
            at: 0,
            done: 0,
            armed: false,
            generation: 0,
        }
    }
}

/// A descriptor that is being done.
#[derive(Debug)]
pub(super) struct Step {
    at: u64,
    generation: u64,
}

impl Step {
    /// Fetches the descriptor and does it; otherwise tells the error's bit.
    pub(super) fn run(&self, dma: &dyn DmaSpace) -> Result<Descriptor, u32> {
        let descriptor = Descriptor::fetch(dma, self.at).ok_or(ERROR_NEXT)?;
        descriptor.run(dma).map(|()| descriptor)
    }
}

/// What follows a descriptor.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// Where to write which status.
    pub(super) writeback: Option<(u64, u64)>,
    pub(super) interrupt: bool,
}

impl Channel {
    pub(super) fn reset(&mut self) {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::default() };
    }

    pub(super) fn read(&self, offset: u64) -> u8 {
        let part = |value: u64, base: u64| value.to_le_bytes()[(offset - base) as usize];
        match offset {
            COMPATIBILITY => COMPATIBLE,
            COMMAND => 0, // commands are done at once
            STATUS..CHAIN => part(self.status(), STATUS),
            ERRORS..ERROR_MASK => part(self.errors.into(), ERRORS),
            _ => self.bytes.get(offset as usize).copied().unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u64, byte: u8) {
        match offset {
            COMMAND => self.command(byte),
            ERRORS..ERROR_MASK => self.errors &= !(u32::from(byte) << (8 * (offset - ERRORS))),
            COMPATIBILITY | STATUS..CHAIN => {}
            _ => {
                if let Some(register) = self.bytes.get_mut(offset as usize) {
                    *register = byte;
                }
            }
        }
    }

    /// Does what follows from a write to `start..end`; tells whether there may be work.
    pub(super) fn written(&mut self, start: u64, end: u64) -> bool {
        let touched = |register: u64, size: u64| start < register + size && register < end;
        if touched(CONTROL, 2) && self.control() & REARM != 0 {
            self.armed = true;
        }
        if touched(CHAIN, 8) {
            self.at = self.word(CHAIN) & DESCRIPTOR_MASK;
            self.done = 0;
            self.bytes[COUNT as usize..COUNT as usize + 2].fill(0);
            self.generation += 1;
        }
        if touched(COUNT, 2) && self.pending() > 0 && self.runnable() {
            self.doing = Doing::Active;
        }
        touched(COUNT, 2) || touched(COMMAND, 1)
    }

    /// Returns how many descriptors can be done now.
    pub(super) fn due(&self) -> u16 {
        if self.doing == Doing::Active { self.pending() } else { 0 }
    }

    /// Returns the descriptor to do now.
    pub(super) fn next(&self) -> Option<Step> {
        (self.due() > 0).then_some(Step { at: self.at, generation: self.generation })
    }

    /// Takes note of what became of a descriptor.
    pub(super) fn finish(&mut self, step: &Step, outcome: Result<Descriptor, u32>) -> Event {
        if step.generation != self.generation {
            return Event::default();
        }
        match outcome {
            Ok(descriptor) => {
                self.last = step.at;
                self.at = descriptor.next & DESCRIPTOR_MASK;
                self.done = self.done.wrapping_add(1);
                if self.pending() == 0 && self.doing == Doing::Active {
                    self.doing = Doing::Done;
                }
                self.event(descriptor.writes_back(), descriptor.interrupts())
            }
            Err(error) => {
                self.errors |= error;
                if self.control() & ABORT_ON_ERROR != 0 || !self.runnable() {
                    self.doing = Doing::Halted;
                }
                let control = self.control();
                self.event(control & ERROR_WRITEBACK != 0, control & ERROR_INTERRUPT != 0)
            }
        }
    }

    fn event(&mut self, writes_back: bool, interrupts: bool) -> Event {
        let address = self.word(COMPLETION) & !7;
        let writeback = (writes_back && address != 0).then(|| (address, self.status()));
        let interrupt = interrupts && self.armed;
        self.armed &= !interrupt;
        Event { writeback, interrupt }
    }

    fn command(&mut self, bits: u8) {
        if bits & RESET != 0 {
            return self.reset();
        }
        if bits & ABORT != 0 {
            self.generation += 1;
            self.doing = Doing::Halted;
        } else if bits & SUSPEND != 0 && self.doing != Doing::Halted {
            self.doing = Doing::Suspended;
        } else if bits & RESUME != 0 && self.doing == Doing::Suspended && self.runnable() {
            self.doing = if self.pending() > 0 { Doing::Active } else { Doing::Done };
        }
    }

    fn pending(&self) -> u16 {
        (self.word(COUNT) as u16).wrapping_sub(self.done)
    }

    fn runnable(&self) -> bool {
        self.errors & !(self.word(ERROR_MASK) as u32) == 0
    }

    fn status(&self) -> u64 {
        self.last | self.doing as u64
    }

    fn control(&self) -> u16 {
        self.word(CONTROL) as u16
    }

    /// Returns eight bytes from a register on; fewer where the registers end.
    fn word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(&self.bytes[offset as usize..]).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(bytes)
    }
}
