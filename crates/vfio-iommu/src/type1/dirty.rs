//! `VFIO_IOMMU_DIRTY_PAGES`: which pages devices may have written.

use vfio_uapi::Errno;
use vfio_uapi::vfio::type1::{
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
};

use super::bitmap_target::BitmapTarget;
use super::mapping::Mapping;
use super::state::State;
use super::{Domain, Type1};
use crate::{Iova, IovaRange};

/// Most pages that a bitmap can tell of.
const MAX_PAGES: u64 = i32::MAX as u64;
/// Size of that bitmap in bytes.
pub(super) const MAX_BITMAP_SIZE: u64 = bitmap_size(MAX_PAGES);

/// Returns the bytes that a bitmap of so many pages takes: whole 64-bit words.
const fn bitmap_size(pages: u64) -> u64 {
    pages.div_ceil(64).saturating_mul(8)
}

/// Checks that a bitmap can tell of every page of a mapping.
///
/// # Errors
/// `EINVAL` it has too many.
pub(super) fn check_trackable(range: IovaRange, page_size: u64) -> Result<(), Errno> {
    if range.size() / page_size > MAX_PAGES { Err(Errno::EINVAL) } else { Ok(()) }
}

/// What `VFIO_IOMMU_DIRTY_PAGES` is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirtyCommand {
    /// Start tracking.
    Start,
    /// Stop tracking.
    Stop,
    /// Report the dirty pages of a range.
    GetBitmap,
}

/// Where dirty pages are reported, as `struct vfio_bitmap` says.
pub struct DirtyQuery<'a> {
    /// Bytes that one bit stands for.
    pub page_size: u64,
    /// Size of the bitmap in bytes.
    pub size: u64,
    /// The bitmap.
    pub target: &'a mut dyn BitmapTarget,
}

impl DirtyQuery<'_> {
    /// Checks the bitmap against the size of the range it is to tell of.
    pub(super) fn check_size(&self, range_size: u64) -> Result<(), Errno> {
        let pages = range_size.checked_shr(self.page_size.trailing_zeros()).unwrap_or(0);
        let fits = pages != 0 && (bitmap_size(pages)..=MAX_BITMAP_SIZE).contains(&self.size);
        if self.target.admits(self.size) && fits { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl Type1 {
    /// Says what the flags of `VFIO_IOMMU_DIRTY_PAGES` ask for.
    ///
    /// # Errors
    /// `EACCES` version 1; `EINVAL` not exactly one flag, or an unknown one.
    pub fn dirty_command(&self, flags: u32) -> Result<DirtyCommand, Errno> {
        self.0.check_dirty_version()?;
        match flags {
            VFIO_IOMMU_DIRTY_PAGES_FLAG_START => Ok(DirtyCommand::Start),
            VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP => Ok(DirtyCommand::Stop),
            VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP => Ok(DirtyCommand::GetBitmap),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Starts tracking dirty pages (`VFIO_IOMMU_DIRTY_PAGES_FLAG_START`); doing so twice is no error.
    ///
    /// # Errors
    /// `EACCES` version 1; `EINVAL` a mapping has more pages than a bitmap can tell. Nothing is tracked then.
    pub fn dirty_start(&self) -> Result<(), Errno> {
        self.0.check_dirty_version()?;
        let mut state = self.0.state.write();
        let page_size = state.page_size();
        if state.tracking {
            return Ok(());
        }
        state.mappings.iter().try_for_each(|mapping| check_trackable(mapping.range, page_size))?;
        state.mappings.iter_mut().for_each(|mapping| mapping.restart_tracking());
        state.tracking = true;
        Ok(())
    }

    /// Stops tracking dirty pages (`VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP`); doing so twice is no error.
    ///
    /// # Errors
    /// `EACCES` version 1.
    pub fn dirty_stop(&self) -> Result<(), Errno> {
        self.0.check_dirty_version()?;
        let mut state = self.0.state.write();
        state.tracking = false;
        state.mappings.iter_mut().for_each(|mapping| *mapping.dirty.get_mut() = None);
        Ok(())
    }

    /// Reports the dirty pages of a range and forgets them (`VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP`).
    ///
    /// With hardware attached, every page is dirty in every report. Without, a page is dirty if a driver wrote
    /// it since the last report, or has it pinned. Each mapping in the range writes whole words: the bits of
    /// what lies before it stay as they are, those behind it become zero, and words that no mapping reaches
    /// are left alone.
    ///
    /// # Errors
    /// `EACCES` version 1; `EINVAL` size zero; `EOVERFLOW` the range wraps; `EINVAL` bitmap at an address that
    /// no process has, or too small or too large; `EINVAL` its page size is not the smallest, the range is
    /// not aligned to that, nothing is tracked, or the range cuts a mapping; `EFAULT` the bitmap cannot be
    /// read or written, where the mappings below have been reported and forgotten.
    pub fn dirty_get_bitmap(&self, iova: Iova, size: u64, query: DirtyQuery<'_>) -> Result<(), Errno> {
        let range = self.0.dirty_range(iova, size)?;
        query.check_size(size)?;
        let mut state = self.0.state.write();
        if query.page_size != state.page_size() {
            return Err(Errno::EINVAL);
        }
        state.take_dirty(range, |state, mapping| state.harvest(mapping, iova, query.target))
    }

    /// Lists the dirty pages of a range and forgets them: what
    /// [`dirty_get_bitmap`](Self::dirty_get_bitmap) reports, without a bitmap to write and to search.
    ///
    /// Neighbours inside a mapping are one range.
    ///
    /// # Errors
    /// `EACCES` version 1; `EINVAL` size zero; `EOVERFLOW` the range wraps; `EINVAL` the range is not aligned to
    /// the smallest page size, nothing is tracked, or the range cuts a mapping.
    pub fn dirty_take_ranges(&self, iova: Iova, size: u64) -> Result<Vec<IovaRange>, Errno> {
        let range = self.0.dirty_range(iova, size)?;
        let mut ranges = Vec::new();
        self.0.state.write().take_dirty(range, |state, mapping| {
            state.dirty_ranges(mapping, &mut ranges);
            Ok(())
        })?;
        Ok(ranges)
    }
}

impl State {
    /// Reports each mapping in a range, and forgets what was dirty there.
    fn take_dirty(
        &mut self,
        range: IovaRange,
        mut report: impl FnMut(&Self, &Mapping) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let aligned = (range.start() | range.size()) & (self.page_size() - 1) == 0;
        if !aligned || !self.tracking || self.mappings.cut_by(range) {
            return Err(Errno::EINVAL);
        }
        let mut rest = Some(range);
        while let Some(mapping) = rest.and_then(|rest| self.mappings.first_in(rest)) {
            let found = mapping.range;
            report(self, mapping)?;
            self.mappings.at_mut(found.start()).expect("it was just found").restart_tracking();
            rest = found.last().checked_add(1).and_then(|next| IovaRange::new(next, range.last()));
        }
        Ok(())
    }
}

impl Domain {
    fn check_dirty_version(&self) -> Result<(), Errno> {
        if self.v2 { Ok(()) } else { Err(Errno::EACCES) }
    }

    fn dirty_range(&self, iova: Iova, size: u64) -> Result<IovaRange, Errno> {
        self.check_dirty_version()?;
        if size == 0 {
            return Err(Errno::EINVAL);
        }
        IovaRange::sized(iova, size).ok_or(Errno::EOVERFLOW)
    }
}
