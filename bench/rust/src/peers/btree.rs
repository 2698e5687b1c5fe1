//! `BTreeMap` by first address.

use std::collections::BTreeMap;

use super::Translate;

#[derive(Default)]
pub struct Tree(BTreeMap<u64, (u64, u64)>);

impl Translate for Tree {
    #[inline]
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        self.0.insert(iova, (len, host));
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        match self.0.range(..=iova).next_back() {
            Some((start, (len, host))) if iova - start < *len => host + (iova - start),
            _ => u64::MAX,
        }
    }
}
