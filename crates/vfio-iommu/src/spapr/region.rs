//! One registered range of a process' memory.

use vfio_memory::{AddressSpace, HostSpan};
use vfio_uapi::Errno;

use super::RealMemory;

/// The largest page that real addresses are aligned for.
const LARGEST_SHIFT: u32 = 30;

/// A range whose pages are pinned, so that entries may lead to them.
#[derive(Debug)]
pub(super) struct Region {
    /// Number by which containers hold it.
    pub(super) id: u64,
    /// First user address.
    pub(super) ua: u64,
    /// Length in bytes, whole pages.
    pub(super) len: u64,
    /// Base-two logarithm of the largest window page that may lead here.
    pub(super) page_shift: u32,
    /// Containers that hold it; one that was left behind with live entries keeps counting.
    pub(super) used: u64,
    /// Entries that lead here.
    pub(super) mapped: u64,
    /// Runs of real addresses: first byte within the region, and where it lies.
    runs: Vec<(u64, u64)>,
}

impl Region {
    /// Pins the memory of a region. `spans` covers it.
    ///
    /// # Errors
    /// As for [`RealMemory::pin`], and `EFAULT` memory that lies across the pages. Nothing is pinned then.
    pub(super) fn pin(
        mm: &AddressSpace,
        real: &RealMemory,
        id: u64,
        ua: u64,
        len: u64,
        spans: &[HostSpan],
    ) -> Result<Self, Errno> {
        let mut region =
            Self { id, ua, len, page_shift: page_shift(mm, ua, len), used: 1, mapped: 0, runs: Vec::new() };
        let mut at = 0;
        for span in spans {
            let pinned = real.pin(span, 1);
            if let Ok(address) = pinned {
                region.runs.push((at, address));
            }
            let aligned = pinned.is_ok_and(|address| (address ^ (ua + at)) & (mm.page_size() - 1) == 0);
            if !aligned {
                region.unpin(real);
                return Err(pinned.err().unwrap_or(Errno::EFAULT));
            }
            at += span.len;
        }
        Ok(region)
    }

    /// Lets the memory go.
    pub(super) fn unpin(&self, real: &RealMemory) {
        self.runs.iter().for_each(|(_, address)| real.unpin(*address, 1));
    }

    /// Tells whether `len` bytes at `ua` lie inside entirely.
    pub(super) fn covers(&self, ua: u64, len: u64) -> bool {
        ua >= self.ua && ua - self.ua < self.len && self.len - (ua - self.ua) >= len
    }

    /// Tells whether the region shares an address with `len` bytes at `ua`.
    pub(super) fn overlaps(&self, ua: u64, len: u64) -> bool {
        self.ua < ua.saturating_add(len) && ua < self.ua + self.len
    }

    /// Returns the real address of a user address within the region, and how many of the next `max` pages of
    /// `1 << shift` bytes follow it contiguously, at least one.
    pub(super) fn run(&self, ua: u64, shift: u32, max: u64) -> (u64, u64) {
        let at = ua - self.ua;
        let run = self.runs.partition_point(|(start, _)| *start <= at) - 1;
        let (start, address) = self.runs[run];
        let end = self.runs.get(run + 1).map_or(self.len, |(next, _)| *next);
        (address + (at - start), ((end - at) >> shift).clamp(1, max))
    }
}

/// Returns the largest page that a region offers: what its own alignment allows, and no more than the pages behind it.
/// Pages of the system's size count as such however contiguous they are.
fn page_shift(mm: &AddressSpace, ua: u64, len: u64) -> u32 {
    let aligned = (ua | len).trailing_zeros();
    let smallest = mm.backing(ua, len).iter().map(|part| part.page_shift).min();
    aligned.min(smallest.unwrap_or(mm.page_shift())).clamp(mm.page_shift(), LARGEST_SHIFT)
}
