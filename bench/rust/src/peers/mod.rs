//! What others do: each maps IOVAs to host addresses and looks one up.

mod btree;
mod congee;
mod flat;
mod gtree;
mod interval;
mod iotlb;
pub mod ours;
mod range_map;
pub mod red_black;

pub use btree::Tree;
pub use congee::Art;
pub use flat::Flat;
pub use gtree::GTree;
pub use interval::Intervals;
pub use iotlb::Tlb;
pub use range_map::Ranges;
pub use red_black::RedBlack;

use crate::random::Addresses;

/// Leads an IOVA to a host address.
pub trait Translate {
    fn map(&mut self, iova: u64, len: u64, host: u64);
    fn translate(&self, iova: u64) -> u64;
}

/// Answers a stream; the sum of the answers is its checksum.
#[inline(never)]
pub fn answer(peer: &impl Translate, stream: Addresses) -> u64 {
    stream.sum(0, stream.count, |iova| peer.translate(iova))
}

/// Answers a stream in which each address depends on the answer before, though it adds nothing.
#[inline(never)]
pub fn answer_dependent(peer: &impl Translate, stream: Addresses) -> u64 {
    let zero = std::hint::black_box(0);
    let mut last = 0;
    stream.sum(0, stream.count, |iova| {
        last = peer.translate(iova.wrapping_add(last & zero));
        last
    })
}

/// Answers addresses that were listed before.
#[inline(never)]
pub fn answer_list(peer: &impl Translate, list: &[u64]) -> u64 {
    list.iter().fold(0, |sum: u64, iova| sum.wrapping_add(peer.translate(*iova)))
}
