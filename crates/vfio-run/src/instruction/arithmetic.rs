//! Arithmetic and logic, with the flags that they set.

use super::state::{ADJUST, CARRY, OVERFLOW, PARITY, SIGN, ZERO, mask};

/// What is done with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Or,
    AddCarry,
    SubtractBorrow,
    And,
    Subtract,
    Xor,
    /// As `Add` and `Subtract`, with the carry left as it is.
    Increment,
    Decrement,
    /// Leaves the flags.
    Not,
    /// Zero minus the left one.
    Negate,
}

impl Operation {
    /// The operation of a number from 0 to 6, as opcodes have it; 7 compares, which subtracts.
    pub(super) fn of(number: u8) -> Self {
        [
            Self::Add,
            Self::Or,
            Self::AddCarry,
            Self::SubtractBorrow,
            Self::And,
            Self::Subtract,
            Self::Xor,
            Self::Subtract,
        ][usize::from(number & 7)]
    }

    /// Returns the result and the flags after it.
    pub(crate) fn run(self, left: u64, right: u64, width: u8, flags: u64) -> (u64, u64) {
        let carry = flags & CARRY;
        match self {
            Self::Add => add(left, right, 0, width, flags),
            Self::AddCarry => add(left, right, carry, width, flags),
            Self::Subtract => subtract(left, right, 0, width, flags),
            Self::SubtractBorrow => subtract(left, right, carry, width, flags),
            Self::Negate => subtract(0, left, 0, width, flags),
            Self::Or => logic(left | right, width, flags),
            Self::And => logic(left & right, width, flags),
            Self::Xor => logic(left ^ right, width, flags),
            Self::Not => (!left & mask(width), flags),
            Self::Increment => keep_carry(add(left, 1, 0, width, flags), carry),
            Self::Decrement => keep_carry(subtract(left, 1, 0, width, flags), carry),
        }
    }
}

fn keep_carry((result, flags): (u64, u64), carry: u64) -> (u64, u64) {
    (result, flags & !CARRY | carry)
}

fn add(left: u64, right: u64, carry: u64, width: u8, flags: u64) -> (u64, u64) {
    let sum = u128::from(left) + u128::from(right) + u128::from(carry);
    let result = sum as u64 & mask(width);
    let carried = sum > u128::from(mask(width));
    let overflow = (left ^ result) & (right ^ result) & sign(width) != 0;
    (result, set(flags, result, width, carried, overflow, (left ^ right ^ result) & 0x10 != 0))
}

fn subtract(left: u64, right: u64, borrow: u64, width: u8, flags: u64) -> (u64, u64) {
    let result = left.wrapping_sub(right).wrapping_sub(borrow) & mask(width);
    let borrowed = u128::from(left) < u128::from(right) + u128::from(borrow);
    let overflow = (left ^ right) & (left ^ result) & sign(width) != 0;
    (result, set(flags, result, width, borrowed, overflow, (left ^ right ^ result) & 0x10 != 0))
}

fn logic(result: u64, width: u8, flags: u64) -> (u64, u64) {
    (result & mask(width), set(flags, result & mask(width), width, false, false, false))
}

fn sign(width: u8) -> u64 {
    1 << (8 * u32::from(width.clamp(1, 8)) - 1)
}

fn set(flags: u64, result: u64, width: u8, carry: bool, overflow: bool, adjust: bool) -> u64 {
    let even = (result as u8).count_ones().is_multiple_of(2);
    let pairs = [
        (CARRY, carry),
        (PARITY, even),
        (ADJUST, adjust),
        (ZERO, result == 0),
        (SIGN, result & sign(width) != 0),
        (OVERFLOW, overflow),
    ];
    pairs.iter().fold(flags, |flags, &(bit, on)| if on { flags | bit } else { flags & !bit })
}
