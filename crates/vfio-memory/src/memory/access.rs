//! Reading and writing a `Memory`: copies, typed words, atomics.

use vfio_uapi::Errno;

use super::{Memory, Reach};
use crate::copy;

impl Memory {
    /// Copies bytes out; up to eight naturally aligned bytes arrive untorn.
    ///
    /// # Errors
    /// `EFAULT` out of range, detached, shrunk, or asked on the wrong thread; nothing is copied then.
    #[inline]
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(file) = self.file() {
            self.check(offset, into.len(), false)?;
            return file.read(offset, into);
        }
        let from = self.reach(offset, into.len())?;
        // SAFETY: `reach` checked the range; `into` is exclusive, and so cannot be shared memory.
        unsafe { copy::read(from.ptr, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies bytes in; up to eight naturally aligned bytes appear untorn.
    ///
    /// # Errors
    /// `EFAULT` as for [`read`](Self::read), or mapped read-only; nothing is copied then.
    #[inline]
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(file) = self.file() {
            self.check(offset, from.len(), true)?;
            return file.write(offset, from);
        }
        let to = self.reach_mut(offset, from.len())?;
        // SAFETY: `reach_mut` checked the range; `from` is a private buffer.
        unsafe { copy::write(to.ptr, from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Sets `len` bytes to `byte`.
    ///
    /// # Errors
    /// `EFAULT` as for [`write`](Self::write).
    pub fn fill(&self, offset: u64, byte: u8, len: u64) -> Result<(), Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
        #[cfg(target_os = "linux")]
        if let Some(file) = self.file() {
            self.check(offset, len, true)?;
            return file.fill(offset, byte, len);
        }
        let to = self.reach_mut(offset, len)?;
        // SAFETY: `reach_mut` checked the range.
        unsafe { copy::fill(to.ptr, byte, len) };
        Ok(())
    }

    /// Copies `len` bytes to `target`, which may be the same object with overlapping ranges.
    ///
    /// # Errors
    /// `EFAULT` for either side, as for [`read`](Self::read) and [`write`](Self::write).
    pub fn copy_to(&self, offset: u64, target: &Self, target_offset: u64, len: u64) -> Result<(), Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
        #[cfg(target_os = "linux")]
        if self.file().is_some() || target.file().is_some() {
            self.check(offset, len, false)?;
            target.check(target_offset, len, true)?;
            let mut bytes = vec![0; len];
            self.read(offset, &mut bytes)?;
            return target.write(target_offset, &bytes);
        }
        // Both answers hold together: `resolve` runs no code of the owner.
        let from = self.reach(offset, len)?;
        let to = target.reach_mut(target_offset, len)?;
        // SAFETY: both ranges were checked, and `between` allows overlap.
        unsafe { copy::between(from.ptr, to.ptr, len) };
        Ok(())
    }
}

macro_rules! words {
    ($($load:ident $store:ident $word:ident,)*) => { impl Memory {$(
        #[doc = concat!("Loads a `", stringify!($word), "` in native byte order, in one access when aligned.")]
        ///
        /// # Errors
        /// `EFAULT` as for [`read`](Self::read).
        #[inline]
        pub fn $load(&self, offset: u64) -> Result<$word, Errno> {
            let mut bytes = [0; size_of::<$word>()];
            self.read(offset, &mut bytes)?;
            Ok($word::from_ne_bytes(bytes))
        }

        #[doc = concat!("Stores a `", stringify!($word), "` in native byte order, in one access when aligned.")]
        ///
        /// # Errors
        /// `EFAULT` as for [`write`](Self::write).
        #[inline]
        pub fn $store(&self, offset: u64, value: $word) -> Result<(), Errno> {
            self.write(offset, &value.to_ne_bytes())
        }
    )*}};
}

words! {
    load_u8 store_u8 u8,
    load_u16 store_u16 u16,
    load_u32 store_u32 u32,
    load_u64 store_u64 u64,
}

macro_rules! atomics {
    ($($swap:ident $add:ident $word:ident,)*) => { impl Memory {$(
        #[doc = concat!("Stores `new` if the `", stringify!($word), "` equals `current`, atomically; returns what was there.")]
        ///
        /// # Errors
        /// `EFAULT` as for [`write`](Self::write); `EINVAL` not naturally aligned in memory.
        #[inline]
        pub fn $swap(&self, offset: u64, current: $word, new: $word) -> Result<$word, Errno> {
            #[cfg(target_os = "linux")]
            if let Some(file) = self.file() {
                self.check(offset, size_of::<$word>(), true)?;
                let there = file.exchange(offset, |bytes| {
                    ($word::from_ne_bytes(bytes) == current).then_some(new.to_ne_bytes())
                })?;
                return Ok($word::from_ne_bytes(there));
            }
            let word = self.reach_aligned(offset, size_of::<$word>())?;
            // SAFETY: `reach_aligned` checked range and alignment.
            Ok(unsafe { copy::$swap(word.ptr, current, new) })
        }

        #[doc = concat!("Adds to the `", stringify!($word), "` atomically, wrapping; returns what was there.")]
        ///
        /// # Errors
        /// `EFAULT` as for [`write`](Self::write); `EINVAL` not naturally aligned in memory.
        #[inline]
        pub fn $add(&self, offset: u64, value: $word) -> Result<$word, Errno> {
            #[cfg(target_os = "linux")]
            if let Some(file) = self.file() {
                self.check(offset, size_of::<$word>(), true)?;
                let there = file.exchange(offset, |bytes| {
                    Some($word::from_ne_bytes(bytes).wrapping_add(value).to_ne_bytes())
                })?;
                return Ok($word::from_ne_bytes(there));
            }
            let word = self.reach_aligned(offset, size_of::<$word>())?;
            // SAFETY: `reach_aligned` checked range and alignment.
            Ok(unsafe { copy::$add(word.ptr, value) })
        }
    )*}};
}

atomics! {
    compare_exchange_u32 fetch_add_u32 u32,
    compare_exchange_u64 fetch_add_u64 u64,
}

impl Memory {
    #[inline]
    fn reach_aligned(&self, offset: u64, size: usize) -> Result<Reach<'_>, Errno> {
        let word = self.reach_mut(offset, size)?;
        if word.ptr.addr() % size == 0 { Ok(word) } else { Err(Errno::EINVAL) }
    }
}
