//! `VFIO_IOMMU_UNMAP_DMA`: taking mappings away, or just their user addresses.

use vfio_uapi::Errno;
use vfio_uapi::vfio::type1::{
    VFIO_DMA_UNMAP_FLAG_ALL, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, VFIO_DMA_UNMAP_FLAG_VADDR,
};

use super::changes::{Changes, Session};
use super::dirty::DirtyQuery;
use super::state::State;
use super::{Batch, Type1};
use crate::{Iova, IovaRange};

/// How often drivers are asked again to let go of the same mapping.
const RETRIES: u32 = 10;

/// Asks to unmap, as `struct vfio_iommu_type1_dma_unmap` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnmapDma {
    /// `VFIO_DMA_UNMAP_FLAG_*`.
    pub flags: u32,
    /// First address.
    pub iova: u64,
    /// Bytes.
    pub size: u64,
}

/// How far a call has got; it starts over whenever drivers had to be asked.
#[derive(Default)]
struct Progress {
    unmapped: u64,
    asked: Option<Iova>,
    retries: u32,
}

/// What to do when the lock is released.
enum Step {
    Finish,
    /// Ask the drivers to unpin this mapping, then start over.
    Ask(IovaRange),
}

impl UnmapDma {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Checks what does not depend on the state.
    fn check_flags(&self) -> Result<(), Errno> {
        const ALONE: u32 = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
        const OTHERS: u32 = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
        if self.flags & !(ALONE | OTHERS) != 0 || (self.has(ALONE) && self.has(OTHERS)) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

impl Type1 {
    /// Unmaps whole mappings and returns how many bytes that was (`VFIO_IOMMU_UNMAP_DMA`).
    ///
    /// Version 2 refuses a range that cuts a mapping. Version 1 takes every mapping away that *begins* in the
    /// range, whole, and does nothing if the range begins inside one. A hole is no error. When this returns,
    /// no device can reach the memory any more. Drivers that have pinned pages are asked to unpin them, with
    /// no lock held.
    ///
    /// * `ALL` (with `iova` and `size` zero) unmaps everything.
    /// * `VADDR` leaves the mappings and takes their user addresses away, until `MAP_DMA` with `VADDR`.
    /// * `GET_DIRTY_BITMAP` reports the dirty pages to `bitmap`, where bit 0 is the page at `iova`.
    ///
    /// # Errors
    /// `EINVAL` unknown flags, or `GET_DIRTY_BITMAP` with another; `EINVAL` bitmap missing, at an address that
    /// no process has, or too small or too large; `EBUSY` `VADDR` while a group of mediated devices is
    /// attached; `EINVAL` not aligned to the smallest page size, size zero (with `ALL`: not zero);
    /// `EOVERFLOW` the range wraps; `EINVAL` a bitmap asked for while nothing is tracked, or with another page
    /// size than the smallest; `EINVAL` the range cuts a mapping (version 2); `EINVAL` an address was taken
    /// away already (nothing changes then); `EFAULT` the bitmap cannot be written (mappings below are gone
    /// then); `EBUSY` a driver does not unpin its pages.
    pub fn unmap_dma(&self, request: &UnmapDma, mut bitmap: Option<DirtyQuery<'_>>) -> Result<u64, Errno> {
        request.check_flags()?;
        if request.has(VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
            bitmap.as_ref().ok_or(Errno::EINVAL)?.check_size(request.size)?;
        } else {
            bitmap = None;
        }
        self.unmap_in(&mut Session::default(), request, bitmap)
    }

    /// Unmaps one range after the other, storing how many bytes each was in its `size`; stops at the first
    /// that is refused, with the errors of [`unmap_dma`](Self::unmap_dma), where `GET_DIRTY_BITMAP` is
    /// `EINVAL`. Waits for devices once, at the end.
    pub fn unmap_batch<'a>(&self, requests: impl IntoIterator<Item = &'a mut UnmapDma>) -> Batch {
        let mut session = Session::default();
        Batch::run(requests, |request| {
            request.check_flags()?;
            if request.has(VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
                return Err(Errno::EINVAL);
            }
            request.size = self.unmap_in(&mut session, request, None)?;
            Ok(())
        })
    }

    fn unmap_in<'d>(
        &'d self,
        session: &mut Session<'d>,
        request: &UnmapDma,
        mut bitmap: Option<DirtyQuery<'_>>,
    ) -> Result<u64, Errno> {
        let mut progress = Progress::default();
        loop {
            let (changes, state) = session.lock(&self.0);
            let range = match state.unmap(request, bitmap.as_mut(), self.0.v2, &mut progress, changes)? {
                Step::Finish => return Ok(progress.unmapped),
                Step::Ask(range) => range,
            };
            let listeners = state.listeners();
            session.release(); // drivers unpin from here
            progress.ask_again(range.start())?;
            listeners.iter().for_each(|listener| listener.dma_unmap(range));
        }
    }
}

impl Progress {
    /// Notes that drivers are asked about a mapping.
    ///
    /// # Errors
    /// `EBUSY` too often about the same.
    fn ask_again(&mut self, start: Iova) -> Result<(), Errno> {
        if self.asked != Some(start) {
            (self.asked, self.retries) = (Some(start), 0);
            return Ok(());
        }
        self.retries += 1;
        if self.retries > RETRIES { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

impl State {
    fn unmap(
        &mut self,
        request: &UnmapDma,
        mut bitmap: Option<&mut DirtyQuery<'_>>,
        v2: bool,
        progress: &mut Progress,
        changes: &mut Changes<'_>,
    ) -> Result<Step, Errno> {
        let range = self.check_unmap(request, bitmap.as_deref())?;
        if v2 && self.mappings.cut_by(range) {
            // After drivers were asked the mappings may be others; what is done is done.
            return if progress.asked.is_some() { Ok(Step::Finish) } else { Err(Errno::EINVAL) };
        }
        if !v2 && self.mappings.at(range.start()).is_some_and(|first| first.range.start() < range.start()) {
            return Ok(Step::Finish);
        }
        if request.has(VFIO_DMA_UNMAP_FLAG_VADDR) {
            progress.unmapped = self.invalidate_vaddrs(range)?;
            return Ok(Step::Finish);
        }
        while let Some(mapping) = self.mappings.first_in(range) {
            let size = mapping.range.size();
            if !mapping.pins.is_empty() {
                return Ok(Step::Ask(mapping.range));
            }
            if let Some(query) = bitmap.as_deref_mut() {
                self.harvest(mapping, range.start(), query.target)?;
            }
            let start = mapping.range.start();
            let editor = self.has_hardware().then(|| changes.editor());
            self.remove(start, editor);
            progress.unmapped = progress.unmapped.wrapping_add(size);
        }
        Ok(Step::Finish)
    }

    /// Checks a request against the state and returns the range it means.
    fn check_unmap(&self, request: &UnmapDma, bitmap: Option<&DirtyQuery<'_>>) -> Result<IovaRange, Errno> {
        if request.has(VFIO_DMA_UNMAP_FLAG_VADDR) && !self.emulated_groups.is_empty() {
            return Err(Errno::EBUSY);
        }
        let UnmapDma { iova, size, .. } = *request;
        let page_size = self.page_size();
        if iova & (page_size - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        if request.has(VFIO_DMA_UNMAP_FLAG_ALL) {
            return if iova == 0 && size == 0 { Ok(IovaRange::ALL) } else { Err(Errno::EINVAL) };
        }
        if size == 0 || size & (page_size - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(iova, size).ok_or(Errno::EOVERFLOW)?;
        if bitmap.is_some_and(|query| !self.tracking || query.page_size != page_size) {
            return Err(Errno::EINVAL);
        }
        Ok(range)
    }

    /// Takes the user addresses of all mappings that start in `range`; returns how many bytes that was.
    ///
    /// # Errors
    /// `EINVAL` one has none already; nothing changes then.
    fn invalidate_vaddrs(&mut self, range: IovaRange) -> Result<u64, Errno> {
        if self.mappings.starting_in(range).any(|mapping| mapping.vaddr_invalid) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = 0_u64;
        for mapping in self.mappings.starting_in(range) {
            mapping.vaddr_invalid = true;
            self.vaddrs_invalid += 1;
            bytes = bytes.wrapping_add(mapping.range.size());
        }
        Ok(bytes)
    }
}
