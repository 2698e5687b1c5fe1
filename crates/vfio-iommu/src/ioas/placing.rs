//! Choosing an IOVA.

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::state::State;
use crate::{Iova, IovaRange};

/// Alignment beyond this gains nothing: a large page.
const MOST_ALIGNMENT: u64 = 2 << 20;

/// What a range has to be like.
struct Wish {
    length: u64,
    alignment: u64,
    /// Offset inside its page.
    page_offset: u64,
}

impl Wish {
    /// Returns the first place at or above `start` that ends at or below `last`.
    fn fit(&self, start: Iova, last: Iova) -> Option<Iova> {
        let aligned = (start.checked_add(self.alignment - 1)? & !(self.alignment - 1)) | self.page_offset;
        (aligned < last && last - aligned >= self.length - 1).then_some(aligned)
    }
}

impl State {
    /// Chooses an IOVA for `length` bytes of memory that begin at address or offset `origin`.
    ///
    /// The alignment follows memory's, so that large pages can be used: the smallest of the length rounded up to a
    /// power of two, the lowest bit of `origin` and 2 MiB. The lowest hole that has room wins. A hole that begins
    /// inside a page may give an address that is not congruent to the memory's.
    ///
    /// # Errors
    /// `EOVERFLOW` more than half the space; `EINVAL` that alignment is less than what the space asks for; `ENOSPC`.
    pub(super) fn place(&self, origin: u64, length: u64) -> Result<Iova, Errno> {
        if length == 0 || length >= u64::MAX / 2 {
            return Err(Errno::EOVERFLOW);
        }
        let natural = length.next_power_of_two();
        let of_origin = if origin == 0 { natural } else { 1 << origin.trailing_zeros() };
        let alignment = natural.min(of_origin).min(MOST_ALIGNMENT);
        if alignment < self.ranges.alignment() {
            return Err(Errno::EINVAL);
        }
        let wish = Wish { length, alignment, page_offset: origin % PAGE_SIZE };
        let everywhere =
            IovaRange::new(PAGE_SIZE, u64::MAX - PAGE_SIZE).expect("there is more than a page at both ends");
        let allowed = self.ranges.allowed().unwrap_or_else(|| vec![everywhere]);
        let reserved = self.ranges.reserved();
        let allowed = allowed.into_iter().filter_map(|range| range.intersect(everywhere));
        allowed
            .filter_map(|range| IovaRange::new(wish.fit(range.start(), range.last())?, range.last()))
            .find_map(|range| self.first_hole(range, &reserved, &wish))
            .ok_or(Errno::ENOSPC)
    }

    /// Finds the first hole of `range`, between areas and reserved ranges, that has room.
    fn first_hole(&self, range: IovaRange, reserved: &[IovaRange], wish: &Wish) -> Option<Iova> {
        let mut start = range.start();
        loop {
            let rest = IovaRange::new(start, range.last())?;
            let area = self.areas.first_in(rest).map(|area| area.range);
            let reserved = reserved.iter().copied().find(|reserved| reserved.overlaps(rest));
            let used = area.into_iter().chain(reserved).min_by_key(|used| used.start());
            let Some(used) = used else { return wish.fit(start, range.last()) };
            if used.start() > start
                && let Some(found) = wish.fit(start, used.start() - 1)
            {
                return Some(found);
            }
            start = used.last().checked_add(1)?;
        }
    }
}
