//! The crate `iset`.

use iset::IntervalMap;

use super::Translate;

#[derive(Default)]
pub struct Intervals(IntervalMap<u64, u64>);

impl Translate for Intervals {
    #[inline]
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        self.0.insert(iova..iova + len, host.wrapping_sub(iova));
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        self.0.values_overlap(iova).next().map_or(u64::MAX, |difference| iova.wrapping_add(*difference))
    }
}
