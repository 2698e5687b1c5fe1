//! Our table: inside one epoch, and with an epoch for each answer.

use vfio_iommu::{Access, DmaSpace, IoPageTable, Reader};

use super::Translate;
use crate::random::Addresses;

/// How long a reader stays: a batch of 1,024, as a device with a ring of descriptors would.
const BATCH: u64 = 1024;

/// Answers a stream in batches, each in one epoch.
#[inline(never)]
pub fn answer_held(table: &IoPageTable, stream: Addresses) -> u64 {
    let batch = |sum: u64, first: u64| {
        let reader = table.reader();
        sum.wrapping_add(stream.sum(first, BATCH.min(stream.count - first), |iova| host(&reader, iova)))
    };
    (0..stream.count).step_by(BATCH as usize).fold(0, batch)
}

/// As [`answer_held`], each address depending on the answer before.
#[inline(never)]
pub fn answer_held_dependent(table: &IoPageTable, stream: Addresses) -> u64 {
    let zero = std::hint::black_box(0);
    let mut last = 0;
    let batch = |sum: u64, first: u64| {
        let reader = table.reader();
        sum.wrapping_add(stream.sum(first, BATCH.min(stream.count - first), |iova| {
            last = host(&reader, iova.wrapping_add(last & zero));
            last
        }))
    };
    (0..stream.count).step_by(BATCH as usize).fold(0, batch)
}

/// Answers addresses that were listed before, in batches.
#[inline(never)]
pub fn answer_held_list(table: &IoPageTable, list: &[u64]) -> u64 {
    list.chunks(BATCH as usize).fold(0, |sum, part| {
        let reader = table.reader();
        part.iter().fold(sum, |sum: u64, iova| sum.wrapping_add(host(&reader, *iova)))
    })
}

#[inline(always)]
fn host(reader: &Reader<'_>, iova: u64) -> u64 {
    reader.translate(iova, Access::Read).map_or(u64::MAX, |found| found.host)
}

/// Each answer in an epoch of its own, through the interface that devices have.
impl Translate for &dyn DmaSpace {
    fn map(&mut self, _: u64, _: u64, _: u64) {
        unreachable!("it was filled before");
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        DmaSpace::translate(*self, iova, Access::Read).map_or(u64::MAX, |found| found.host)
    }
}
