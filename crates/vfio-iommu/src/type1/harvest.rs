//! Writing the dirty pages of one mapping into a bitmap.

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::bitmap::DirtyBitmap;
use super::bitmap_target::BitmapTarget;
use super::mapping::Mapping;
use super::state::State;
use crate::Iova;

const WORD_BITS: u64 = 64;
/// Words that are written at a time.
const BLOCK: u64 = 512;

/// The bits of one mapping, with a clean end.
struct Source<'a> {
    /// `None`: every page is dirty.
    bitmap: Option<&'a DirtyBitmap>,
    bits: u64,
}

impl Source<'_> {
    /// Returns 64 bits from bit `64 * index` on; there are none behind the mapping.
    fn word(&self, index: u64) -> u64 {
        let first = index * WORD_BITS;
        let inside = match self.bits.saturating_sub(first) {
            0 => return 0,
            bits if bits < WORD_BITS => (1 << bits) - 1,
            _ => u64::MAX,
        };
        inside & self.bitmap.map_or(u64::MAX, |bitmap| bitmap.word(first))
    }
}

impl State {
    /// Writes whether each page of a mapping is dirty to `target`, whose bit 0 stands for the page at `base`.
    ///
    /// # Errors
    /// `EFAULT`; part of the words may be written then.
    pub(super) fn harvest(
        &self,
        mapping: &Mapping,
        base: Iova,
        target: &mut dyn BitmapTarget,
    ) -> Result<(), Errno> {
        let page_size = self.page_size();
        let marked = mapping.dirty.lock();
        // Hardware cannot tell what it wrote, so everything it can reach counts. Without hardware a bit is a
        // page of the machine, as in the bitmap.
        let bitmap = if self.has_hardware() { None } else { marked.as_ref() };
        let bits = mapping.range.size() / page_size;
        let source = Source { bitmap, bits };

        let offset = (mapping.range.start() - base) / page_size;
        let (first, shift) = (offset / WORD_BITS, offset % WORD_BITS);
        let mut carry = if shift == 0 { 0 } else { target.read_word(first)? & ((1 << shift) - 1) };
        let words = (bits + shift).div_ceil(WORD_BITS);
        let mut block = Vec::with_capacity(words.min(BLOCK) as usize);
        for index in 0..words {
            let word = source.word(index);
            block.push(carry | word << shift);
            carry = word.checked_shr((WORD_BITS - shift) as u32).unwrap_or(0);
            if block.len() as u64 == BLOCK || index + 1 == words {
                target.write_words(first + index + 1 - block.len() as u64, &block)?;
                block.clear();
            }
        }
        Ok(())
    }
}

impl Mapping {
    /// Forgets what was dirty: from now on it is what drivers have pinned, and what they write.
    pub(super) fn restart_tracking(&mut self) {
        let bitmap = self.dirty.get_mut().get_or_insert_default();
        bitmap.clear();
        self.pins.pinned_in(0..self.range.size() / PAGE_SIZE).for_each(|run| bitmap.set(run));
    }
}
