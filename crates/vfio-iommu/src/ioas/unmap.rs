//! `IOMMU_IOAS_UNMAP`: taking areas away; and cutting them, for containers of type1's first version.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::Ioas;
use super::access::AccessPoint;
use super::state::State;
use crate::{Iova, IovaRange};

/// How often accesses are asked again to let go of the same area.
const RETRIES: u32 = 100;

/// What to do when the lock is released.
enum Step {
    Finish,
    /// Ask the accesses to unpin this area, then start over.
    Ask(IovaRange, Vec<Arc<AccessPoint>>),
}

impl Ioas {
    /// Unmaps whole areas and returns how many bytes that was (`IOMMU_IOAS_UNMAP`); 0 where there are none.
    ///
    /// Goes upwards: at an area that the range cuts it stops, and what lies below is gone. When this returns no
    /// device can reach the memory any more. Accesses that have pinned pages are asked to unpin them, with no lock
    /// held.
    ///
    /// # Errors
    /// `EINVAL` length zero; `EOVERFLOW` the range wraps; `EBUSY` a command queue lies in an area;
    /// `ENOENT` it cuts an area; `EDEADLK` an access does not unpin
    /// its pages. The bytes that were unmapped come with the error.
    pub fn unmap(&self, iova: Iova, length: u64) -> Result<u64, (Errno, u64)> {
        if length == 0 {
            return Err((Errno::EINVAL, 0));
        }
        let range = IovaRange::sized(iova, length).ok_or((Errno::EOVERFLOW, 0))?;
        self.unmap_range(range)
    }

    /// Unmaps everything and returns how many bytes that was.
    ///
    /// # Errors
    /// `EDEADLK` an access does not unpin its pages.
    pub fn unmap_all(&self) -> Result<u64, (Errno, u64)> {
        self.unmap_range(IovaRange::ALL)
    }

    fn unmap_range(&self, range: IovaRange) -> Result<u64, (Errno, u64)> {
        let (mut unmapped, mut tries, mut asked) = (0, 0, None);
        loop {
            let step = self.0.state.write().unmap(range, &mut unmapped);
            match step.map_err(|errno| (errno, unmapped))? {
                Step::Finish => return Ok(unmapped),
                Step::Ask(area, accesses) => {
                    tries = if asked == Some(area) { tries + 1 } else { 1 };
                    asked = Some(area);
                    if tries > RETRIES {
                        self.reopen(area);
                        return Err((Errno::EDEADLK, unmapped));
                    }
                    accesses.iter().for_each(|access| access.notify(area));
                }
            }
        }
    }

    fn reopen(&self, range: IovaRange) {
        if let Some(area) = self.0.state.write().areas.at_mut(range.start()) {
            area.closing = false;
        }
    }

    /// Cuts areas so that exactly `iova..iova + length` can be unmapped (`VFIO_IOMMU_UNMAP_DMA` of version 1); does
    /// nothing while large pages are in use.
    ///
    /// # Errors
    /// `EBUSY` an area is being unmapped; `EINVAL` not aligned, or an access has pinned pages of the area.
    pub fn cut(&self, iova: Iova, length: u64) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        if !state.small_pages {
            return Ok(());
        }
        state.split_behind(iova.wrapping_add(length).wrapping_sub(1))?;
        iova.checked_sub(1).map_or(Ok(()), |last| state.split_behind(last))
    }
}

impl State {
    fn unmap(&mut self, range: IovaRange, unmapped: &mut u64) -> Result<Step, Errno> {
        while let Some(area) = self.areas.first_in(range) {
            let found = area.range;
            if area.locks > 0 {
                return Err(Errno::EBUSY);
            }
            if !range.covers(found) {
                return Err(Errno::ENOENT);
            }
            if area.accesses > 0 {
                if let Some(area) = self.areas.at_mut(found.start()) {
                    area.closing = true;
                }
                return Ok(Step::Ask(found, self.accesses.clone()));
            }
            self.remove(found.start());
            *unmapped = unmapped.wrapping_add(found.size());
        }
        Ok(Step::Finish)
    }

    /// Cuts the area around `last` so that it ends there.
    fn split_behind(&mut self, last: Iova) -> Result<(), Errno> {
        let alignment = self.ranges.alignment();
        let Some(area) = self.areas.at_mut(last) else { return Ok(()) };
        if last == area.range.last() || last == area.range.start() {
            return Ok(());
        }
        if area.closing {
            return Err(Errno::EBUSY);
        }
        if ((last + 1) | area.byte_at(last + 1)) & (alignment - 1) != 0 || area.accesses > 0 {
            return Err(Errno::EINVAL);
        }
        let upper = area.split_off(last);
        self.areas.insert(upper);
        Ok(())
    }
}
