//! From bytes to instructions.

use super::arithmetic::Operation;
use super::{Effect, Instruction, Register, Source, Target, Text};

/// Prefixes of an instruction.
#[derive(Debug, Clone, Copy, Default)]
struct Prefixes {
    /// Operand size (0x66).
    narrow: bool,
    /// Address size (0x67).
    short_addresses: bool,
    repeat: bool,
    repeat_not: bool,
    rex: Option<u8>,
}

impl Prefixes {
    fn rex(self, bit: u8) -> bool {
        self.rex.is_some_and(|rex| rex & bit != 0)
    }

    /// Width of an operand that is no byte.
    fn width(self) -> u8 {
        if self.rex(8) {
            8
        } else if self.narrow {
            2
        } else {
            4
        }
    }
}

/// Reads bytes one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A signed number of so many bytes.
    fn constant(&mut self, width: u8) -> Option<u64> {
        let mut word = [0; 8];
        for to in word.iter_mut().take(width.into()) {
            *to = self.byte()?;
        }
        let shift = 64 - 8 * u32::from(width);
        Some(((u64::from_le_bytes(word) << shift).cast_signed() >> shift).cast_unsigned())
    }

    /// Skips what names the memory operand and returns the other field; `None`: it is no memory.
    fn operand(&mut self) -> Option<u8> {
        let byte = self.byte()?;
        let (mode, middle, base) = (byte >> 6, byte >> 3 & 7, byte & 7);
        let mut skip = match (mode, base) {
            (3, _) => return None,
            (0, 5) => 4,
            (0, _) => 0,
            (1, _) => 1,
            _ => 4,
        };
        if base == 4 {
            let scaled = self.byte()?;
            if mode == 0 && scaled & 7 == 5 {
                skip = 4;
            }
        }
        for _ in 0..skip {
            self.byte()?;
        }
        Some(middle)
    }
}

/// Decodes one instruction; `None`: it is none that is known here.
pub(crate) fn decode(bytes: &[u8]) -> Option<Instruction> {
    let mut reader = Reader { bytes, at: 0 };
    let mut prefixes = Prefixes::default();
    let opcode = loop {
        let byte = reader.byte()?;
        match byte {
            0x66 => prefixes.narrow = true,
            0x67 => prefixes.short_addresses = true,
            0xf2 => prefixes.repeat_not = true,
            0xf3 => prefixes.repeat = true,
            0xf0 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
            0x40..=0x4f => {
                prefixes.rex = Some(byte);
                break reader.byte()?;
            }
            _ => break byte,
        }
    };
    let (width, effect) = match opcode {
        0x0f => two_bytes(&mut reader, prefixes)?,
        _ => one_byte(opcode, &mut reader, prefixes)?,
    };
    (reader.at <= 15).then_some(Instruction { length: reader.at as u8, width, effect })
}

/// The register that a field names.
fn register(field: u8, width: u8, prefixes: Prefixes) -> Register {
    let number = field | if prefixes.rex(4) { 8 } else { 0 };
    Register { number, second_byte: width == 1 && prefixes.rex.is_none() && field >= 4 }
}

fn one_byte(opcode: u8, reader: &mut Reader<'_>, prefixes: Prefixes) -> Option<(u8, Effect)> {
    let width = if opcode & 1 == 0 { 1 } else { prefixes.width() };
    let load = |register, to, sign| Effect::Load { register, to, sign };
    let effect = match opcode {
        // Arithmetic and logic, both ways.
        0x00..=0x3f if opcode & 7 < 4 => {
            let number = opcode >> 3;
            let field = reader.operand()?;
            let target = match (number, opcode & 2) {
                (7, 2) => Target::Compare,
                (7, _) => Target::Nowhere,
                (_, 2) => Target::Register,
                _ => Target::Memory,
            };
            let source = Source::Register(register(field, width, prefixes));
            Effect::Combine { operation: Operation::of(number), source, target }
        }
        0x63 => {
            let field = reader.operand()?;
            return Some((4, load(register(field, 8, prefixes), prefixes.width(), true)));
        }
        0x80 | 0x81 | 0x83 => {
            let number = reader.operand()?;
            let size = if opcode == 0x81 { width.min(4) } else { 1 };
            let source = Source::Constant(reader.constant(size)?);
            let target = if number == 7 { Target::Nowhere } else { Target::Memory };
            Effect::Combine { operation: Operation::of(number), source, target }
        }
        0x84 | 0x85 => {
            let field = reader.operand()?;
            let source = Source::Register(register(field, width, prefixes));
            Effect::Combine { operation: Operation::And, source, target: Target::Nowhere }
        }
        0x86 | 0x87 => Effect::Swap(register(reader.operand()?, width, prefixes)),
        0x88 | 0x89 => Effect::Store(Source::Register(register(reader.operand()?, width, prefixes))),
        0x8a | 0x8b => load(register(reader.operand()?, width, prefixes), width, false),
        0xa4 | 0xa5 => Effect::Text { kind: Text::Move, repeat: repeats(prefixes)? },
        0xaa | 0xab => Effect::Text { kind: Text::Store, repeat: repeats(prefixes)? },
        0xac | 0xad => Effect::Text { kind: Text::Load, repeat: repeats(prefixes)? },
        0xc6 | 0xc7 => match reader.operand()? {
            0 => Effect::Store(Source::Constant(reader.constant(width.min(4))?)),
            _ => return None,
        },
        0xf6 | 0xf7 => one_operand(reader.operand()?, reader, width)?,
        0xfe | 0xff => {
            let operation = match reader.operand()? {
                0 => Operation::Increment,
                1 => Operation::Decrement,
                _ => return None,
            };
            Effect::Combine { operation, source: Source::Constant(0), target: Target::Memory }
        }
        _ => return None,
    };
    Some((width, effect))
}

fn repeats(prefixes: Prefixes) -> Option<bool> {
    (!prefixes.short_addresses).then_some(prefixes.repeat || prefixes.repeat_not)
}

fn one_operand(number: u8, reader: &mut Reader<'_>, width: u8) -> Option<Effect> {
    let (operation, source, target) = match number {
        0 | 1 => (Operation::And, Source::Constant(reader.constant(width.min(4))?), Target::Nowhere),
        2 => (Operation::Not, Source::Constant(0), Target::Memory),
        3 => (Operation::Negate, Source::Constant(0), Target::Memory),
        _ => return None,
    };
    Some(Effect::Combine { operation, source, target })
}

fn two_bytes(reader: &mut Reader<'_>, prefixes: Prefixes) -> Option<(u8, Effect)> {
    let opcode = reader.byte()?;
    let field = reader.operand()?;
    let vector = field | if prefixes.rex(4) { 8 } else { 0 };
    let whole = prefixes.width();
    let plain = !prefixes.narrow && !prefixes.repeat && !prefixes.repeat_not;
    let scalar = match (prefixes.repeat, prefixes.repeat_not) {
        (true, _) => 4,
        (_, true) => 8,
        _ => 16,
    };
    let load =
        |width, sign| Some((width, Effect::Load { register: register(field, 8, prefixes), to: whole, sign }));
    match opcode {
        0xb6 => load(1, false),
        0xb7 => load(2, false),
        0xbe => load(1, true),
        0xbf => load(2, true),
        0xc3 if plain => Some((whole, Effect::Store(Source::Register(register(field, whole, prefixes))))),
        0x10 => Some((scalar, Effect::LoadVector(vector))),
        0x11 => Some((scalar, Effect::StoreVector(vector))),
        0x28 => Some((16, Effect::LoadVector(vector))),
        0x29 | 0x2b => Some((16, Effect::StoreVector(vector))),
        0x6f if !plain => Some((16, Effect::LoadVector(vector))),
        0x7f if !plain => Some((16, Effect::StoreVector(vector))),
        0xe7 if prefixes.narrow => Some((16, Effect::StoreVector(vector))),
        0x6e if prefixes.narrow => Some((if prefixes.rex(8) { 8 } else { 4 }, Effect::LoadVector(vector))),
        0x7e if prefixes.repeat => Some((8, Effect::LoadVector(vector))),
        0x7e if prefixes.narrow => Some((if prefixes.rex(8) { 8 } else { 4 }, Effect::StoreVector(vector))),
        0xd6 if prefixes.narrow => Some((8, Effect::StoreVector(vector))),
        _ => None,
    }
}
