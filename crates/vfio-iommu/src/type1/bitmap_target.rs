//! Where a dirty bitmap is written: the memory of a process, or bytes of our own.

use vfio_memory::{AddressSpace, TASK_SIZE};
use vfio_uapi::Errno;

const WORD: u64 = 8;
/// Words that are written at a time.
const BLOCK: u64 = 512;

/// Takes a dirty bitmap, a little-endian 64-bit word at a time.
pub trait BitmapTarget {
    /// Tells whether `bytes` bytes could lie there at all (`access_ok`).
    fn admits(&self, bytes: u64) -> bool;

    /// Returns what a word holds now.
    ///
    /// # Errors
    /// `EFAULT`.
    fn read_word(&self, index: u64) -> Result<u64, Errno>;

    /// Stores consecutive words.
    ///
    /// # Errors
    /// `EFAULT`; what comes before the fault is stored.
    fn write_words(&mut self, first: u64, words: &[u64]) -> Result<(), Errno>;

    /// Stores the same word so many times.
    ///
    /// # Errors
    /// As for [`write_words`](Self::write_words).
    fn fill_words(&mut self, first: u64, count: u64, word: u64) -> Result<(), Errno> {
        let block = [word; BLOCK as usize];
        for done in (0..count).step_by(BLOCK as usize) {
            self.write_words(first + done, &block[..(count - done).min(BLOCK) as usize])?;
        }
        Ok(())
    }
}

/// Names a bitmap in the memory of a process.
#[derive(Clone, Copy)]
pub struct UserBitmap<'a> {
    /// The process.
    pub mm: &'a AddressSpace,
    /// Address of the first word.
    pub address: u64,
}

impl UserBitmap<'_> {
    fn address_of(&self, word: u64) -> Result<u64, Errno> {
        word.checked_mul(WORD).and_then(|offset| self.address.checked_add(offset)).ok_or(Errno::EFAULT)
    }
}

impl BitmapTarget for UserBitmap<'_> {
    fn admits(&self, bytes: u64) -> bool {
        self.address.checked_add(bytes).is_some_and(|end| end <= TASK_SIZE)
    }

    fn read_word(&self, index: u64) -> Result<u64, Errno> {
        let mut bytes = [0; WORD as usize];
        self.mm.read(self.address_of(index)?, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_words(&mut self, first: u64, words: &[u64]) -> Result<(), Errno> {
        let mut bytes = [[0; WORD as usize]; BLOCK as usize];
        for (first, words) in (first..).step_by(BLOCK as usize).zip(words.chunks(BLOCK as usize)) {
            bytes.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
            self.mm.write(self.address_of(first)?, bytes[..words.len()].as_flattened())?;
        }
        Ok(())
    }
}

/// Takes the bitmap in bytes of our own; a last word that does not fit is cut.
impl BitmapTarget for &mut [u8] {
    fn admits(&self, bytes: u64) -> bool {
        bytes <= self.len() as u64
    }

    fn read_word(&self, index: u64) -> Result<u64, Errno> {
        let mut bytes = [0; WORD as usize];
        let from = word_at(self.len(), index)?;
        let len = self[from..].len().min(bytes.len());
        bytes[..len].copy_from_slice(&self[from..from + len]);
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_words(&mut self, first: u64, words: &[u64]) -> Result<(), Errno> {
        let (from, len) = (word_at(self.len(), first)?, words.len() * WORD as usize);
        if let Some(whole) = self[from..].get_mut(..len) {
            let places = whole.as_chunks_mut().0.iter_mut();
            places.zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
            return Ok(());
        }
        for (index, word) in (first..).zip(words) {
            let from = word_at(self.len(), index)?;
            let len = self[from..].len().min(WORD as usize);
            self[from..from + len].copy_from_slice(&word.to_le_bytes()[..len]);
        }
        Ok(())
    }
}

/// Returns where a word begins in `len` bytes.
fn word_at(len: usize, index: u64) -> Result<usize, Errno> {
    let offset = index.checked_mul(WORD).and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| *offset < len).ok_or(Errno::EFAULT)
}
