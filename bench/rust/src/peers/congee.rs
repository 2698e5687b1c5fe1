//! The crate `congee`, an adaptive radix tree for concurrent readers; it finds keys, so it holds page numbers.

use congee::{Congee, DefaultAllocator, epoch::Guard};

use super::Translate;

pub struct Art {
    bits: u32,
    tree: Congee<usize, usize>,
    guard: Guard,
}

impl Art {
    pub fn new(span: u64) -> Self {
        let tree = Congee::new(DefaultAllocator {});
        let guard = tree.pin();
        Self { bits: span.trailing_zeros(), tree, guard }
    }
}

impl Translate for Art {
    #[inline]
    fn map(&mut self, iova: u64, _: u64, host: u64) {
        let key = (iova >> self.bits) as usize;
        assert!(self.tree.insert(key, host as usize, &self.guard).is_ok(), "congee ran out of memory");
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let host = self.tree.get(&((iova >> self.bits) as usize), &self.guard);
        host.map_or(u64::MAX, |host| host as u64 + (iova & ((1 << self.bits) - 1)))
    }
}
