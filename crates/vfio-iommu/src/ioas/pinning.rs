//! What software keeps: pages that an access has pinned (`iommufd_access_pin_pages`).

use vfio_memory::{HostSpan, PAGE_SIZE};
use vfio_uapi::Errno;

use super::access::IoasAccess;
use super::state::State;
use crate::{Iova, IovaRange};

impl IoasAccess {
    /// Pins the pages of a range and returns their memory.
    ///
    /// # Errors
    /// `EINVAL` the access may not pin, or no bytes; `EOVERFLOW` the range wraps; `ENOENT` attached to nothing; then
    /// upwards: `ENOENT` a hole, `EINVAL` an area is being unmapped or is not made of whole pages, `EPERM` writing what
    /// was not mapped for it, `EFAULT` or `EINVAL` memory that is not there, `ENOMEM` over the limit. Nothing is
    /// pinned then.
    pub fn pin(&self, iova: Iova, len: u64, write: bool) -> Result<Vec<HostSpan>, Errno> {
        if !self.may_pin() || len == 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(iova, len).ok_or(Errno::EOVERFLOW)?;
        let attached = self.0.attached.read();
        let ioas = attached.ioas.as_ref().ok_or(Errno::ENOENT)?;
        let mut state = ioas.0.state.write();
        let mut spans = Vec::new();
        let mut rest = Some(range);
        while let Some(part) = rest {
            let pinned = state.pin(part, range, write, self.0.locks);
            match pinned {
                Ok((here, found)) => {
                    spans.extend(found);
                    self.note(here);
                    rest = here.last().checked_add(1).and_then(|next| IovaRange::new(next, range.last()));
                }
                Err(errno) => {
                    if let Some(done) =
                        part.start().checked_sub(1).and_then(|last| IovaRange::new(range.start(), last))
                    {
                        self.unpin_in(&mut state, done);
                    }
                    return Err(errno);
                }
            }
        }
        Ok(spans)
    }

    /// Takes one pin off each page of a range; pages that it has not pinned are passed over.
    pub fn unpin(&self, iova: Iova, len: u64) {
        let last = iova.saturating_add(len.saturating_sub(1));
        let Some(range) = IovaRange::new(iova, last).filter(|_| len > 0) else { return };
        let attached = self.0.attached.read();
        if let Some(ioas) = &attached.unpin {
            self.unpin_in(&mut ioas.0.state.write(), range);
        }
    }

    /// Takes every pin off every page.
    pub(super) fn unpin_all(&self) {
        let attached = self.0.attached.read();
        let Some(ioas) = &attached.unpin else { return };
        let mut state = ioas.0.state.write();
        while !self.0.pins.lock().is_empty() {
            self.unpin_in(&mut state, IovaRange::ALL);
        }
    }

    /// Notes that the pages of a range are pinned once more.
    fn note(&self, range: IovaRange) {
        let mut pins = self.0.pins.lock();
        for page in pages(range) {
            *pins.entry(page).or_insert(0) += 1;
        }
    }

    fn unpin_in(&self, state: &mut State, range: IovaRange) {
        let mut pins = self.0.pins.lock();
        let first = range.start() & !(PAGE_SIZE - 1);
        let mut gone = Vec::new();
        for (page, count) in pins.range_mut(first..=range.last()) {
            *count -= 1;
            if *count == 0 {
                gone.push(*page);
            }
            if let Some(area) = state.areas.at_mut(*page) {
                let part = IovaRange::sized(*page, 1).expect("one byte is not empty");
                area.pages.unpin(area.pages_of(part));
                area.accesses -= 1;
                area.locks -= u64::from(self.0.locks);
            }
        }
        for page in gone {
            pins.remove(&page);
        }
    }
}

/// Lists the first addresses of the pages that a range touches.
fn pages(range: IovaRange) -> impl Iterator<Item = Iova> {
    let shift = PAGE_SIZE.trailing_zeros();
    (range.start() >> shift..=range.last() >> shift).map(move |page| page << shift)
}

impl State {
    /// Pins the pages of the area around the start of `part`, as far as `part` goes.
    fn pin(
        &mut self,
        part: IovaRange,
        whole: IovaRange,
        write: bool,
        locks: bool,
    ) -> Result<(IovaRange, Vec<HostSpan>), Errno> {
        let area = self.areas.at_mut(part.start()).ok_or(Errno::ENOENT)?;
        let here = part.intersect(area.range).expect("the area is around its start");
        let starts_page = area.byte_at(here.start()).is_multiple_of(PAGE_SIZE);
        let ends_page =
            here.last() == whole.last() || (area.byte_at(here.last()) + 1).is_multiple_of(PAGE_SIZE);
        if area.closing || !starts_page || !ends_page {
            return Err(Errno::EINVAL);
        }
        if write && !area.pages.is_writable() {
            return Err(Errno::EPERM);
        }
        let numbers = area.pages_of(here);
        area.accesses += numbers.end - numbers.start;
        match area.pages.pin(numbers.clone()) {
            Ok(spans) => {
                area.locks += if locks { numbers.end - numbers.start } else { 0 };
                Ok((here, spans))
            }
            Err(errno) => {
                area.accesses -= numbers.end - numbers.start;
                Err(errno)
            }
        }
    }
}
