//! Huge pages: areas whose memory comes in larger pieces than the system's pages (`hugetlbfs`).

use vfio_uapi::Errno;

use super::AddressSpace;
use crate::{Memory, Prot};

/// Says how large the pages behind a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backing {
    /// First address.
    pub start: u64,
    /// Bytes from there on.
    pub len: u64,
    /// Base-two logarithm of the size of the pages.
    pub page_shift: u32,
}

impl AddressSpace {
    /// Places memory as [`map`](Self::map) does, with pages of `page_size` bytes behind it (`MAP_HUGETLB`).
    ///
    /// # Errors
    /// `EINVAL` the size is no power of two or less than the system's page, or length or offset are no
    /// multiples of it; then as for [`map`](Self::map).
    #[expect(clippy::too_many_arguments, reason = "those of mmap, and the size of the pages behind it")]
    pub fn map_huge(
        &self,
        hint: Option<u64>,
        align: u64,
        len: u64,
        memory: Memory,
        offset: u64,
        prot: Prot,
        page_size: u64,
    ) -> Result<u64, Errno> {
        let whole = page_size.is_power_of_two()
            && page_size >= self.page_size()
            && len.is_multiple_of(page_size)
            && offset.is_multiple_of(page_size);
        if !whole {
            return Err(Errno::EINVAL);
        }
        self.map_pages(hint, align, len, memory, offset, prot, page_size.ilog2())
    }

    /// Tells how large the pages behind a range are, area by area; holes are left out.
    pub fn backing(&self, addr: u64, len: u64) -> Vec<Backing> {
        let end = addr.saturating_add(len);
        let areas = self.areas.read();
        let part = |(start, area): (u64, &crate::vma::Vma)| {
            let first = start.max(addr);
            Backing {
                start: first,
                len: end.min(start + area.len).saturating_sub(first),
                page_shift: area.page_shift,
            }
        };
        areas.in_range(addr, end).map(part).filter(|part| part.len > 0).collect()
    }
}
