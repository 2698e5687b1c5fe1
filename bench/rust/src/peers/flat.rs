//! An array with an entry per page: the limit.

use super::Translate;

pub struct Flat {
    base: u64,
    bits: u32,
    hosts: Vec<u64>,
}

impl Flat {
    pub fn new(base: u64, span: u64, pages: u64) -> Self {
        Self { base, bits: span.trailing_zeros(), hosts: vec![0; pages as usize] }
    }
}

impl Translate for Flat {
    #[inline]
    fn map(&mut self, iova: u64, _: u64, host: u64) {
        self.hosts[((iova - self.base) >> self.bits) as usize] = host;
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let at = iova.wrapping_sub(self.base);
        self.hosts
            .get((at >> self.bits) as usize)
            .map_or(u64::MAX, |host| host + (at & ((1 << self.bits) - 1)))
    }
}
