//! Writing the dirty pages of one mapping into a bitmap, or listing them.

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::bitmap::{CHUNK_BITS, CHUNK_WORDS, DirtyBitmap, WORD_BITS, Words};
use super::bitmap_target::BitmapTarget;
use super::mapping::Mapping;
use super::state::State;
use crate::{Iova, IovaRange};

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
        let bitmap = self.marks(marked.as_ref());
        let bits = mapping.range.size() / page_size;
        let offset = (mapping.range.start() - base) / page_size;
        let (mut word, shift) = (offset / WORD_BITS, (offset % WORD_BITS) as u32);
        let carry = if shift == 0 { 0 } else { target.read_word(word)? & ((1 << shift) - 1) };
        let mut writer = Writer { target, shift, carry };
        for (index, first) in (0..).zip((0..bits).step_by(CHUNK_BITS as usize)) {
            let words = bitmap.map_or(Words::All(u64::MAX), |bitmap| bitmap.chunk(index));
            let left = (bits - first).min(CHUNK_BITS);
            writer.chunk(word, words, left)?;
            word += left.div_ceil(WORD_BITS);
        }
        writer.end(word, bits)
    }

    /// Lists the dirty pages of a mapping as ranges.
    pub(super) fn dirty_ranges(&self, mapping: &Mapping, ranges: &mut Vec<IovaRange>) {
        let marked = mapping.dirty.lock();
        let Some(bitmap) = self.marks(marked.as_ref()) else { return ranges.push(mapping.range) };
        let start = mapping.range.start();
        bitmap.runs(mapping.range.size() / PAGE_SIZE, |run| {
            let first = start + run.start * PAGE_SIZE;
            let last = start + (run.end * PAGE_SIZE - 1);
            match ranges.last_mut() {
                Some(before) if before.last().checked_add(1) == Some(first) => {
                    *before = IovaRange::new(before.start(), last).expect("it follows");
                }
                _ => ranges.extend(IovaRange::new(first, last)),
            }
        });
    }

    /// Returns what is marked; nothing where everything counts as dirty, for hardware cannot tell what it
    /// wrote. Without hardware a bit is a page of the machine.
    fn marks<'a>(&self, marked: Option<&'a DirtyBitmap>) -> Option<&'a DirtyBitmap> {
        if self.has_hardware() { None } else { marked }
    }
}

/// Writes words that begin `shift` bits into those of the target.
struct Writer<'a> {
    target: &'a mut dyn BitmapTarget,
    shift: u32,
    /// The bits that begin the next word.
    carry: u64,
}

impl Writer<'_> {
    /// Writes the first `bits` of a chunk from `word` on.
    fn chunk(&mut self, word: u64, words: Words<'_>, bits: u64) -> Result<(), Errno> {
        let whole = bits == CHUNK_BITS;
        match words {
            Words::Each(words) if self.shift == 0 && whole => self.target.write_words(word, words),
            Words::All(all) if self.shift == 0 && whole => {
                self.target.fill_words(word, CHUNK_WORDS as u64, all)
            }
            words => self.shifted(word, words, bits),
        }
    }

    fn shifted(&mut self, first: u64, words: Words<'_>, bits: u64) -> Result<(), Errno> {
        let mut block = [0; CHUNK_WORDS];
        let len = bits.div_ceil(WORD_BITS) as usize;
        for (index, into) in block[..len].iter_mut().enumerate() {
            let left = bits - index as u64 * WORD_BITS;
            let inside = if left < WORD_BITS { (1 << left) - 1 } else { u64::MAX };
            let word = inside
                & match words {
                    Words::All(all) => all,
                    Words::Each(words) => words[index],
                };
            *into = self.carry | word << self.shift;
            self.carry = word.checked_shr(WORD_BITS as u32 - self.shift).unwrap_or(0);
        }
        self.target.write_words(first, &block[..len])
    }

    /// Writes the word that the last of `bits` reach into, if they reach beyond the words written.
    fn end(&mut self, word: u64, bits: u64) -> Result<(), Errno> {
        let reaches = (bits + u64::from(self.shift)).div_ceil(WORD_BITS) > bits.div_ceil(WORD_BITS);
        if reaches { self.target.write_words(word, &[self.carry]) } else { Ok(()) }
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
