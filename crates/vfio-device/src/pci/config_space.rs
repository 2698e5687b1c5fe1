//! Configuration space as the hardware keeps it: bytes, the bits that a write changes, the bits that a one clears.

use super::registers::{CONFIG_SIZE, EXTENDED_CONFIG_SIZE};

/// Holds the registers of a function with their write masks.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
    writable: Vec<u8>,
    clearable: Vec<u8>,
}

impl ConfigSpace {
    /// Makes a space of 256 or (`extended`) 4096 read-only zero bytes.
    #[must_use]
    pub fn new(extended: bool) -> Self {
        let size = if extended { EXTENDED_CONFIG_SIZE } else { CONFIG_SIZE };
        Self { bytes: vec![0; size], writable: vec![0; size], clearable: vec![0; size] }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Reads registers; bytes beyond the end are all ones.
    pub fn read(&self, offset: u16, into: &mut [u8]) {
        for (byte, at) in into.iter_mut().zip(usize::from(offset)..) {
            *byte = self.bytes.get(at).copied().unwrap_or(0xff);
        }
    }

    /// Writes registers as the bus does: only writable bits change, ones clear clearable bits, what lies beyond the end
    /// is dropped.
    pub fn write(&mut self, offset: u16, from: &[u8]) {
        for (value, at) in from.iter().zip(usize::from(offset)..) {
            let Some(byte) = self.bytes.get_mut(at) else { return };
            *byte = *byte & !self.writable[at] | value & self.writable[at];
            *byte &= !(value & self.clearable[at]);
        }
    }

    /// Sets registers as the function itself does, whatever the masks say.
    pub fn set(&mut self, offset: u16, from: &[u8]) {
        for (value, at) in from.iter().zip(usize::from(offset)..) {
            let Some(byte) = self.bytes.get_mut(at) else { return };
            *byte = *value;
        }
    }

    /// Sets which bits a write changes.
    pub fn set_writable(&mut self, offset: u16, mask: &[u8]) {
        for (bits, at) in mask.iter().zip(usize::from(offset)..) {
            let Some(byte) = self.writable.get_mut(at) else { return };
            *byte = *bits;
        }
    }

    /// Sets which bits a one clears.
    pub fn set_clearable(&mut self, offset: u16, mask: &[u8]) {
        for (bits, at) in mask.iter().zip(usize::from(offset)..) {
            let Some(byte) = self.clearable.get_mut(at) else { return };
            *byte = *bits;
        }
    }

    /// Returns a byte.
    #[must_use]
    pub fn u8(&self, offset: u16) -> u8 {
        let mut bytes = [0; 1];
        self.read(offset, &mut bytes);
        bytes[0]
    }

    /// Returns a word of two bytes.
    #[must_use]
    pub fn u16(&self, offset: u16) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// Returns a word of four bytes.
    #[must_use]
    pub fn u32(&self, offset: u16) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Sets the bits of `mask` in a word of two bytes to those of `value`, as the function itself does.
    pub fn set_bits(&mut self, offset: u16, mask: u16, value: u16) {
        let word = self.u16(offset) & !mask | value & mask;
        self.set(offset, &word.to_le_bytes());
    }

    /// Copies the writable bits of a range back from another state of the same space.
    pub(super) fn restore_writable(&mut self, from: &Self, offset: u16, len: usize) {
        let start = usize::from(offset).min(self.bytes.len());
        let end = (start + len).min(self.bytes.len()).min(from.bytes.len());
        for at in start..end {
            let mask = self.writable[at] | self.clearable[at];
            self.bytes[at] = self.bytes[at] & !mask | from.bytes[at] & mask;
        }
    }
}
