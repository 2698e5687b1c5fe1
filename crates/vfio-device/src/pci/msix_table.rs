//! The MSI-X table and its pending bits, as they lie in a BAR.

use super::capability::MsixSpec;

/// Bytes of a table entry: address, data, control.
const ENTRY_SIZE: u64 = 16;
/// Control word of an entry: the vector is masked.
const MASKED: u8 = 0x1;

/// Holds the table of a function.
#[derive(Debug, Clone)]
pub(super) struct MsixTable {
    spec: MsixSpec,
    table: Vec<u8>,
    pending: Vec<u8>,
}

/// Says which of the two an access reaches.
enum Place {
    Table(usize),
    Pending(usize),
}

impl MsixTable {
    /// Makes a table with every vector masked.
    pub(super) fn new(spec: MsixSpec) -> Self {
        let vectors = usize::from(spec.vectors);
        let mut table = Self {
            spec,
            table: vec![0; vectors * ENTRY_SIZE as usize],
            pending: vec![0; vectors.div_ceil(64) * 8],
        };
        table.reset();
        table
    }

    pub(super) fn reset(&mut self) {
        self.table.fill(0);
        self.pending.fill(0);
        for entry in self.table.chunks_mut(ENTRY_SIZE as usize) {
            entry[12] = MASKED;
        }
    }

    pub(super) fn vectors(&self) -> u32 {
        u32::from(self.spec.vectors)
    }

    /// Returns the table's BAR, first byte and the byte behind its last.
    pub(super) fn place(&self) -> (u8, u64, u64) {
        let start = u64::from(self.spec.table_offset);
        (self.spec.table_bar, start, start + self.table.len() as u64)
    }

    fn find(&self, bar: u8, offset: u64, len: usize) -> Option<Place> {
        let within = |base: u32, size: usize| {
            let start = offset.checked_sub(u64::from(base))?;
            (start + len as u64 <= size as u64).then_some(start as usize)
        };
        if bar == self.spec.table_bar
            && let Some(start) = within(self.spec.table_offset, self.table.len())
        {
            return Some(Place::Table(start));
        }
        if bar == self.spec.pba_bar
            && let Some(start) = within(self.spec.pba_offset, self.pending.len())
        {
            return Some(Place::Pending(start));
        }
        None
    }

    /// Tells whether an access reaches table or pending bits.
    pub(super) fn covers(&self, bar: u8, offset: u64, len: usize) -> bool {
        self.find(bar, offset, len).is_some()
    }

    /// Reads table or pending bits.
    pub(super) fn read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        let len = into.len();
        match self.find(bar, offset, len) {
            Some(Place::Table(start)) => into.copy_from_slice(&self.table[start..start + len]),
            Some(Place::Pending(start)) => into.copy_from_slice(&self.pending[start..start + len]),
            None => into.fill(0xff),
        }
    }

    /// Writes to the table; pending bits are read-only.
    pub(super) fn write(&mut self, bar: u8, offset: u64, from: &[u8]) {
        if let Some(Place::Table(start)) = self.find(bar, offset, from.len()) {
            self.table[start..start + from.len()].copy_from_slice(from);
        }
    }

    pub(super) fn is_masked(&self, vector: u32) -> bool {
        self.table.get(vector as usize * ENTRY_SIZE as usize + 12).is_none_or(|control| control & MASKED != 0)
    }

    pub(super) fn set_masked(&mut self, vector: u32, masked: bool) {
        if let Some(control) = self.table.get_mut(vector as usize * ENTRY_SIZE as usize + 12) {
            *control = *control & !MASKED | u8::from(masked);
        }
    }

    pub(super) fn set_pending(&mut self, vector: u32) {
        if let Some(byte) = self.pending.get_mut(vector as usize / 8) {
            *byte |= 1 << (vector % 8);
        }
    }

    /// Takes the vectors that are pending and no longer masked.
    pub(super) fn take_deliverable(&mut self) -> Vec<u32> {
        let ready: Vec<u32> = (0..self.vectors())
            .filter(|vector| self.pending[*vector as usize / 8] & 1 << (vector % 8) != 0)
            .filter(|vector| !self.is_masked(*vector))
            .collect();
        for vector in &ready {
            self.pending[*vector as usize / 8] &= !(1 << (vector % 8));
        }
        ready
    }
}
