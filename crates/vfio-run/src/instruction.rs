//! Instructions that reach memory: those that compilers and C libraries use on registers of devices.
//!
//! The address is known from the fault, so an instruction is only read for its length, its width and what it does with the
//! bytes. Moves of every width up to 16 bytes, string moves, arithmetic and logic with memory on either side; what is missing
//! here (AVX, x87, bit tests, compare-and-exchange) is left to the program as the `SIGBUS` that it is.

mod arithmetic;
mod decode;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use decode::decode;
pub(crate) use state::State;

use arithmetic::Operation;

/// What an instruction does with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Loads into a register; `sign` says how a narrow value fills `to` bytes.
    Load { register: Register, to: u8, sign: bool },
    /// Stores a register or a constant.
    Store(Source),
    /// Combines memory with a source; the result goes to memory, to the source's register, or nowhere.
    Combine { operation: Operation, source: Source, target: Target },
    /// Swaps memory with a register.
    Swap(Register),
    /// Loads a vector register, clearing what is above.
    LoadVector(u8),
    /// Stores the lower part of a vector register.
    StoreVector(u8),
    /// Moves a string.
    Text { kind: Text, repeat: bool },
}

/// A register as an operand of a width: without a REX prefix, 4 to 7 name second bytes where the width is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) number: u8,
    pub(crate) second_byte: bool,
}

/// The other operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Register(Register),
    Constant(u64),
}

/// Where a result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Memory,
    Register,
    /// Nowhere: only the flags count.
    Nowhere,
    /// Nowhere, with the register on the left.
    Compare,
}

/// String instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Move,
    Store,
    Load,
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Bytes of it.
    pub(crate) length: u8,
    /// Bytes of the memory operand.
    pub(crate) width: u8,
    pub(crate) effect: Effect,
}

/// Memory as an instruction sees it. An address that is a device's goes to the device; others to the program's memory.
pub(crate) trait Bus {
    /// Reads at an address; `None`: nothing is there.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Option<()>;
    /// Writes at an address; `None`: nothing is there.
    fn write(&mut self, address: u64, from: &[u8]) -> Option<()>;
}

/// Most repetitions done in one go, so that signals reach the program in between.
const AT_ONCE: u64 = 4096;

impl Instruction {
    /// Does the instruction, whose memory operand lies at `address`; `None`: memory was not there, and nothing has changed but
    /// what a repetition had done before.
    pub(crate) fn execute(&self, state: &mut State, address: u64, bus: &mut dyn Bus) -> Option<()> {
        if let Effect::Text { kind, repeat } = self.effect {
            return self.text(kind, repeat, state, bus);
        }
        let width = usize::from(self.width);
        let mut bytes = [0; 16];
        match self.effect {
            Effect::Load { register, to, sign } => {
                bus.read(address, &mut bytes[..width])?;
                let value = extend(&bytes, width, sign);
                state.set(register, to, value);
            }
            Effect::Store(source) => {
                bus.write(address, &state.value(source, self.width).to_le_bytes()[..width])?;
            }
            Effect::Combine { operation, source, target } => {
                bus.read(address, &mut bytes[..width])?;
                let (memory, other) = (extend(&bytes, width, false), state.value(source, self.width));
                let (left, right) = if matches!(target, Target::Register | Target::Compare) {
                    (other, memory)
                } else {
                    (memory, other)
                };
                let (result, flags) = operation.run(left, right, self.width, state.flags);
                match (target, source) {
                    (Target::Memory, _) => bus.write(address, &result.to_le_bytes()[..width])?,
                    (Target::Register, Source::Register(register)) => state.set(register, self.width, result),
                    _ => {}
                }
                state.flags = flags;
            }
            Effect::Swap(register) => {
                bus.read(address, &mut bytes[..width])?;
                let old = state.get(register, self.width);
                bus.write(address, &old.to_le_bytes()[..width])?;
                state.set(register, self.width, extend(&bytes, width, false));
            }
            Effect::LoadVector(register) => {
                bus.read(address, &mut bytes[..width])?;
                state.vectors[usize::from(register & 15)] = bytes;
            }
            Effect::StoreVector(register) => {
                bytes = state.vectors[usize::from(register & 15)];
                bus.write(address, &bytes[..width])?;
            }
            Effect::Text { .. } => {}
        }
        state.instruction = state.instruction.wrapping_add(self.length.into());
        Some(())
    }

    fn text(&self, kind: Text, repeat: bool, state: &mut State, bus: &mut dyn Bus) -> Option<()> {
        let width = usize::from(self.width);
        let step = if state.flags & state::DIRECTION == 0 {
            u64::from(self.width)
        } else {
            u64::from(self.width).wrapping_neg()
        };
        let mut left = if repeat { state.general[state::RCX] } else { 1 };
        for _ in 0..left.min(AT_ONCE) {
            let mut bytes = state.general[state::RAX].to_le_bytes();
            if kind != Text::Store {
                bus.read(state.general[state::RSI], &mut bytes[..width])?;
            }
            if kind == Text::Load {
                let register = Register { number: 0, second_byte: false };
                state.set(register, self.width, extend(&bytes, width, false));
            } else {
                bus.write(state.general[state::RDI], &bytes[..width])?;
                state.general[state::RDI] = state.general[state::RDI].wrapping_add(step);
            }
            if kind != Text::Store {
                state.general[state::RSI] = state.general[state::RSI].wrapping_add(step);
            }
            left -= 1;
            if repeat {
                state.general[state::RCX] = left;
            }
        }
        if left == 0 {
            state.instruction = state.instruction.wrapping_add(self.length.into());
        }
        Some(())
    }
}

fn extend(bytes: &[u8], width: usize, sign: bool) -> u64 {
    let mut word = [0; 8];
    let width = width.min(8);
    word[..width].copy_from_slice(&bytes[..width]);
    let value = u64::from_le_bytes(word);
    let shift = 64 - 8 * width as u32;
    if sign { ((value << shift).cast_signed() >> shift).cast_unsigned() } else { value }
}
