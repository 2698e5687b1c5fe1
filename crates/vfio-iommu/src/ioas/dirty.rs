//! Which pages of a domain devices have written (`IOMMU_HWPT_GET_DIRTY_BITMAP`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::Ioas;
use super::domain::PagingDomain;
use crate::type1::BitmapTarget;
use crate::{Iova, IovaRange};

const WORD_BITS: u64 = 64;
/// Pages whose bits are put together before they are written.
const BLOCK: usize = 512;

/// The written pages of one domain; a word exists only where something is dirty.
pub(super) struct DirtyPages {
    shift: u32,
    tracking: AtomicBool,
    words: Mutex<BTreeMap<u64, u64>>,
}

/// Asks which pages were written.
pub struct DirtyRequest<'a> {
    /// First address; bit 0 stands for the page there.
    pub iova: Iova,
    /// Bytes.
    pub length: u64,
    /// Bytes that one bit stands for.
    pub page_size: u64,
    /// Forget what is reported.
    pub clear: bool,
    /// The bitmap; bits that are set stay set.
    pub target: &'a mut dyn BitmapTarget,
}

impl DirtyPages {
    /// Starts with nothing tracked, in units of `page` bytes.
    pub(super) fn new(page: u64) -> Self {
        Self { shift: page.trailing_zeros(), tracking: AtomicBool::new(false), words: Mutex::default() }
    }

    pub(super) fn is_tracking(&self) -> bool {
        self.tracking.load(Ordering::Acquire)
    }

    /// Marks what a device has written, if that is tracked.
    pub(super) fn mark(&self, range: IovaRange) {
        if !self.tracking.load(Ordering::Acquire) {
            return;
        }
        let mut words = self.words.lock();
        for page in range.start() >> self.shift..=range.last() >> self.shift {
            *words.entry(page / WORD_BITS).or_insert(0) |= 1 << (page % WORD_BITS);
        }
    }

    /// Forgets pages that lie in `range` entirely.
    pub(super) fn forget(&self, range: IovaRange) {
        self.take(range, true, |_| {});
    }

    /// Calls `visit` with the dirty pages of a range, upwards; unmarks them if asked to.
    fn take(&self, range: IovaRange, clear: bool, mut visit: impl FnMut(IovaRange)) {
        let (first, last) = (range.start() >> self.shift, range.last() >> self.shift);
        let mut words = self.words.lock();
        for (word, bits) in words.range_mut(first / WORD_BITS..=last / WORD_BITS) {
            let base = word * WORD_BITS;
            let mut rest = *bits;
            while rest != 0 {
                let bit = u64::from(rest.trailing_zeros());
                rest &= rest - 1;
                if (first..=last).contains(&(base + bit)) {
                    let start = (base + bit) << self.shift;
                    visit(IovaRange::sized(start, 1 << self.shift).expect("a page does not wrap"));
                    *bits &= !(u64::from(clear) << bit);
                }
            }
        }
        words.retain(|_, bits| *bits != 0);
    }
}

impl DirtyRequest<'_> {
    /// Checks the request against the unit of mappings.
    fn check(&self, alignment: u64) -> Result<IovaRange, Errno> {
        let last = self.iova.checked_add(self.length.wrapping_sub(1)).ok_or(Errno::EOVERFLOW)?;
        let aligned = |unit: u64| (self.iova | last.wrapping_add(1)) & (unit - 1) == 0;
        if !aligned(alignment) || self.page_size == 0 || !aligned(self.page_size) {
            return Err(Errno::EINVAL);
        }
        IovaRange::new(self.iova, last).ok_or(Errno::EINVAL)
    }

    /// Sets the bits of a dirty page.
    fn set(&self, bits: &mut BTreeMap<u64, u64>, page: IovaRange) {
        let first = page.start().saturating_sub(self.iova) / self.page_size;
        let last = (page.last() - self.iova) / self.page_size;
        for bit in first..=last {
            *bits.entry(bit / WORD_BITS).or_insert(0) |= 1 << (bit % WORD_BITS);
        }
    }
}

impl Ioas {
    /// Starts or stops telling which pages of a domain get written (`IOMMU_HWPT_SET_DIRTY_TRACKING`). Starting
    /// forgets what was known.
    ///
    /// # Errors
    /// `EOPNOTSUPP` the domain cannot tell.
    pub fn set_dirty_tracking(&self, domain: &PagingDomain, enable: bool) -> Result<(), Errno> {
        let dirty = domain.dirty().ok_or(Errno::EOPNOTSUPP)?;
        let _held = self.0.state.write();
        if enable {
            dirty.words.lock().clear();
        }
        dirty.tracking.store(enable, Ordering::Release);
        Ok(())
    }

    /// Reports which pages of a range were written since they were last forgotten
    /// (`IOMMU_HWPT_GET_DIRTY_BITMAP`).
    ///
    /// As in the kernel, only the request itself is judged: a hole in the range ends the report and is no error, and
    /// neither is a bitmap that cannot be written.
    ///
    /// # Errors
    /// `EOPNOTSUPP` the domain cannot tell; `EOVERFLOW` the range wraps; `EINVAL` not aligned to the space's unit,
    /// page size zero, or not aligned to that.
    pub fn dirty_bitmap(&self, domain: &Arc<PagingDomain>, request: DirtyRequest<'_>) -> Result<(), Errno> {
        let dirty = domain.dirty().ok_or(Errno::EOPNOTSUPP)?;
        let state = self.0.state.read();
        let range = request.check(state.ranges.alignment())?;
        let mut pages = Vec::new();
        if dirty.tracking.load(Ordering::Acquire) {
            // The result of the walk is dropped on purpose: see above.
            let _ = state.areas.walk(range, |_, part| {
                dirty.take(part, request.clear, |page| pages.extend(page.intersect(range)));
                Ok(())
            });
        }
        drop(state);
        for block in pages.chunks(BLOCK) {
            let mut bits = BTreeMap::new();
            block.iter().for_each(|page| request.set(&mut bits, *page));
            let written = bits.into_iter().try_for_each(|(word, bits)| {
                let before = request.target.read_word(word)?;
                request.target.write_words(word, &[before | bits])
            });
            if written.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Marks bytes of a domain as written, as hardware would; for tests.
    pub fn mark_dirty(&self, domain: &PagingDomain, range: IovaRange) {
        if let Some(dirty) = domain.dirty() {
            dirty.mark(range);
        }
    }
}
