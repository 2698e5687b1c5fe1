//! The crate `rangemap`, with the difference as the value, as vm-memory uses it.

use rangemap::RangeMap;

use super::Translate;

#[derive(Default)]
pub struct Ranges(RangeMap<u64, u64>);

impl Translate for Ranges {
    #[inline]
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        self.0.insert(iova..iova + len, host.wrapping_sub(iova));
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        self.0.get(&iova).map_or(u64::MAX, |difference| iova.wrapping_add(*difference))
    }
}
