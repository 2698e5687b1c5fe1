//! Registers of the processor.

use super::{Register, Source};

pub(crate) const RAX: usize = 0;
pub(crate) const RCX: usize = 1;
pub(crate) const RSI: usize = 6;
pub(crate) const RDI: usize = 7;
/// Bits of the flags.
pub(crate) const CARRY: u64 = 1 << 0;
pub(crate) const PARITY: u64 = 1 << 2;
pub(crate) const ADJUST: u64 = 1 << 4;
pub(crate) const ZERO: u64 = 1 << 6;
pub(crate) const SIGN: u64 = 1 << 7;
pub(crate) const DIRECTION: u64 = 1 << 10;
pub(crate) const OVERFLOW: u64 = 1 << 11;

/// What a thread has in its registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// In the order of their encoding: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub(crate) general: [u64; 16],
    pub(crate) instruction: u64,
    pub(crate) flags: u64,
    pub(crate) vectors: [[u8; 16]; 16],
}

impl State {
    /// Reads `width` bytes of a register.
    pub(crate) fn get(&self, register: Register, width: u8) -> u64 {
        let number = usize::from(register.number & 15);
        if width == 1 && register.second_byte {
            return self.general[number & 3] >> 8 & 0xff;
        }
        self.general[number] & mask(width)
    }

    /// Writes `width` bytes of a register; 4 bytes clear the upper half.
    pub(crate) fn set(&mut self, register: Register, width: u8, value: u64) {
        let number = usize::from(register.number & 15);
        if width == 1 && register.second_byte {
            let whole = &mut self.general[number & 3];
            *whole = *whole & !0xff00 | (value & 0xff) << 8;
        } else if width == 4 {
            self.general[number] = value & mask(4);
        } else {
            let whole = &mut self.general[number];
            *whole = *whole & !mask(width) | value & mask(width);
        }
    }

    pub(crate) fn value(&self, source: Source, width: u8) -> u64 {
        match source {
            Source::Register(register) => self.get(register, width),
            Source::Constant(value) => value & mask(width),
        }
    }
}

pub(crate) fn mask(width: u8) -> u64 {
    if width >= 8 { u64::MAX } else { (1 << (8 * width)) - 1 }
}
