//! Which pages the device has written, for a client that migrates: the server's own log, since every write goes through
//! the client's memory here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use vfio_iommu::{Iova, IovaRange};
use vfio_uapi::Errno;

/// Smallest page that is logged, and the largest.
const MIN_PAGE: u64 = 4 << 10;
const MAX_PAGE: u64 = 2 << 20;
/// Pages of a chunk of the log.
const CHUNK: u64 = 4096;
/// Chunks that are kept; a device that writes all over the place counts as having written everywhere.
const MOST_CHUNKS: usize = 1 << 16;
/// Ranges that one log may be about.
const MOST_RANGES: usize = 1024;

/// The log; off until it is started.
#[derive(Default)]
pub(crate) struct DirtyLog {
    /// Copy of whether there is a log, for writes that need not wait for the lock.
    on: AtomicBool,
    log: Mutex<Option<Log>>,
}

struct Log {
    /// What is logged; nothing: everything.
    ranges: Vec<IovaRange>,
    page_shift: u32,
    /// Bits by number of the chunk.
    chunks: BTreeMap<u64, Box<[u64; (CHUNK / 64) as usize]>>,
    /// There were too many chunks.
    overflown: bool,
}

impl DirtyLog {
    /// Starts logging writes to `ranges` (none: to everything) in pages of about `page_size`; returns their size.
    ///
    /// # Errors
    /// `EBUSY` it was started; `E2BIG` too many ranges; `EINVAL` one that is not aligned to the pages.
    pub(crate) fn start(&self, ranges: Vec<IovaRange>, page_size: u64) -> Result<u64, Errno> {
        let page_size =
            if page_size.is_power_of_two() { page_size.clamp(MIN_PAGE, MAX_PAGE) } else { MIN_PAGE };
        if ranges.len() > MOST_RANGES {
            return Err(Errno::E2BIG);
        }
        if ranges.iter().any(|range| !range.is_aligned(page_size)) {
            return Err(Errno::EINVAL);
        }
        let mut log = self.log.lock();
        if log.is_some() {
            return Err(Errno::EBUSY);
        }
        let page_shift = page_size.trailing_zeros();
        *log = Some(Log { ranges, page_shift, chunks: BTreeMap::new(), overflown: false });
        self.on.store(true, Ordering::SeqCst);
        Ok(page_size)
    }

    /// Stops logging, and forgets.
    pub(crate) fn stop(&self) {
        let mut log = self.log.lock();
        self.on.store(false, Ordering::SeqCst);
        let old = log.take();
        drop(log);
        drop(old);
    }

    /// Tells whether writes are logged.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Notes that `len` bytes were written.
    #[inline]
    pub(super) fn mark(&self, iova: Iova, len: u64) {
        if self.is_on()
            && let Some(range) = IovaRange::sized(iova, len)
            && let Some(log) = &mut *self.log.lock()
        {
            log.mark(range);
        }
    }

    /// Reports the pages of `range` that were written since the last report: a bit for each `page_size`, from the lowest
    /// of the first byte on, in whole words.
    ///
    /// # Errors
    /// `EINVAL` nothing is logged, or senseless pages.
    pub(crate) fn harvest(&self, range: IovaRange, page_size: u64) -> Result<Vec<u8>, Errno> {
        if !page_size.is_power_of_two() || page_size < MIN_PAGE {
            return Err(Errno::EINVAL);
        }
        let mut log = self.log.lock();
        let log = log.as_mut().ok_or(Errno::EINVAL)?;
        let shift = page_size.trailing_zeros();
        let mut bits = vec![0_u8; bitmap_size(range, page_size)];
        let mut report = |first: Iova, last: Iova| {
            let from = (first.max(range.start()) - range.start()) >> shift;
            let to = (last.min(range.last()) - range.start()) >> shift;
            for bit in from..=to {
                bits[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        };
        if log.overflown {
            report(range.start(), range.last());
            return Ok(bits);
        }
        log.take(range, &mut report);
        Ok(bits)
    }
}

/// Bytes of a bitmap over `range`.
pub(crate) fn bitmap_size(range: IovaRange, page_size: u64) -> usize {
    let pages = (range.last() - range.start()) / page_size + 1;
    usize::try_from(pages.div_ceil(64) * 8).unwrap_or(usize::MAX)
}

impl Log {
    fn mark(&mut self, range: IovaRange) {
        if self.overflown || !(self.ranges.is_empty() || self.ranges.iter().any(|one| one.overlaps(range))) {
            return;
        }
        for page in range.start() >> self.page_shift..=range.last() >> self.page_shift {
            if !self.chunks.contains_key(&(page / CHUNK)) && self.chunks.len() >= MOST_CHUNKS {
                self.overflown = true;
                self.chunks.clear();
                return;
            }
            let chunk =
                self.chunks.entry(page / CHUNK).or_insert_with(|| Box::new([0; (CHUNK / 64) as usize]));
            chunk[(page % CHUNK / 64) as usize] |= 1 << (page % 64);
        }
    }

    /// Takes the pages that lie in `range`, in part at least, and reports first and last byte of each.
    fn take(&mut self, range: IovaRange, report: &mut impl FnMut(Iova, Iova)) {
        let (first, last) = (range.start() >> self.page_shift, range.last() >> self.page_shift);
        let mut empty = Vec::new();
        for (number, chunk) in self.chunks.range_mut(first / CHUNK..=last / CHUNK) {
            for (at, word) in chunk.iter_mut().enumerate().filter(|(_, word)| **word != 0) {
                let base = number * CHUNK + at as u64 * 64;
                for bit in 0..64 {
                    let page = base + bit;
                    if *word & 1 << bit != 0 && (first..=last).contains(&page) {
                        *word &= !(1 << bit);
                        let start = page << self.page_shift;
                        report(start, start | ((1 << self.page_shift) - 1));
                    }
                }
            }
            if chunk.iter().all(|word| *word == 0) {
                empty.push(*number);
            }
        }
        for number in empty {
            self.chunks.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, len: u64) -> IovaRange {
        IovaRange::sized(start, len).expect("a range")
    }

    #[test]
    fn only_what_was_asked_for_is_logged_and_reports_forget() {
        let log = DirtyLog::default();
        log.mark(0x1000, 8);
        assert_eq!(log.harvest(range(0, 0x10000), 4096), Err(Errno::EINVAL));
        assert_eq!(log.start(vec![range(0x1000, 0x1001)], 4096), Err(Errno::EINVAL));
        assert_eq!(log.start(vec![range(0x1000, 0x3000)], 4097), Ok(4096));
        assert_eq!(log.start(Vec::new(), 4096), Err(Errno::EBUSY));
        log.mark(0x1ff8, 16);
        log.mark(0x8000, 1);
        assert_eq!(log.harvest(range(0, 0x10000), 4096).expect("bits")[..2], [0b110, 0]);
        assert_eq!(log.harvest(range(0, 0x10000), 4096).expect("bits"), [0; 8]);
        log.mark(0x3000, 1);
        assert_eq!(log.harvest(range(0, 0x10000), 8192).expect("bits")[0], 0b10);
        assert_eq!(log.harvest(range(0, 0x10000), 2048), Err(Errno::EINVAL));
        log.stop();
        assert!(!log.is_on());
    }

    #[test]
    fn a_device_that_writes_everywhere_has_written_everywhere() {
        let log = DirtyLog::default();
        log.start(Vec::new(), 4096).expect("started");
        for chunk in 0..=MOST_CHUNKS as u64 {
            log.mark(chunk * CHUNK * 4096, 1);
        }
        assert_eq!(log.harvest(range(1 << 62, 0x8000), 4096).expect("bits")[0], 0xff);
        log.mark(u64::MAX - 7, 8);
    }

    proptest! {
        #[test]
        fn reports_are_those_of_a_set(writes in prop::collection::vec((0_u64..1 << 30, 1_u64..1 << 15), 0..40), at in 0_u64..1 << 18, pages in 1_u64..4096) {
            let log = DirtyLog::default();
            log.start(Vec::new(), 4096).expect("started");
            let mut plain = BTreeSet::new();
            for (iova, len) in writes {
                log.mark(iova, len);
                plain.extend(iova >> 12..=(iova + len - 1) >> 12);
            }
            let bits = log.harvest(range(at << 12, pages << 12), 4096).expect("bits");
            prop_assert_eq!(bits.len() % 8, 0);
            for page in 0..bits.len() as u64 * 8 {
                let set = bits[(page / 8) as usize] >> (page % 8) & 1 == 1;
                prop_assert_eq!(set, page < pages && plain.contains(&(at + page)));
            }
        }
    }
}
