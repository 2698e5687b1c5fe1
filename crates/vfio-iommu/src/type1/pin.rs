//! `vfio_pin_pages`, `vfio_unpin_pages`: what drivers of mediated devices keep.

use std::ops::Range;

use vfio_memory::{HostSpan, PAGE_SHIFT, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::Domain;
use super::listener::DeviceId;
use super::mapping::Mapping;
use super::state::State;
use crate::{Iova, IovaRange};

impl Domain {
    /// Pins pages for a driver and returns their memory (`vfio_pin_pages`).
    ///
    /// A page that is pinned already keeps its memory, whatever the process has at its address now. While no
    /// hardware has everything pinned, each page is charged once, however often it is pinned.
    ///
    /// # Errors
    /// `EINVAL` no page, or the device does not hear of unmaps; `EACCES` version 1; then page by page: `EINVAL`
    /// nothing is mapped there; `EPERM` the mapping lacks a right; `EFAULT` memory that is not there; `ENOMEM`
    /// over the locked-memory limit. Nothing is pinned then.
    pub(super) fn pin_pages(
        &self,
        device: DeviceId,
        iova: Iova,
        npages: u64,
        prot: Prot,
    ) -> Result<Vec<HostSpan>, Errno> {
        let mut state = self.state.write();
        self.check_pin(&state, device, npages)?;
        let range = page_range(iova, npages).ok_or(Errno::EINVAL)?;
        let mut spans = Vec::new();
        let mut done = 0;
        let result = state.pin(device, range, prot, &mut spans, &mut done);
        match result {
            Ok(()) => {
                state.mark_dirty(range);
                Ok(spans)
            }
            Err(errno) => {
                state.unpin(device, range.start(), done);
                Err(errno)
            }
        }
    }

    /// Checks whether `device` may pin anything now.
    pub(super) fn check_pin(&self, state: &State, device: DeviceId, npages: u64) -> Result<(), Errno> {
        if npages == 0 || !state.listens(device) {
            return Err(Errno::EINVAL);
        }
        if !self.v2 {
            return Err(Errno::EACCES);
        }
        if state.vaddrs_invalid > 0 { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// Takes one pin off each page (`vfio_unpin_pages`); pages that `device` has not pinned are passed over.
    pub(super) fn unpin_pages(&self, device: DeviceId, iova: Iova, npages: u64) {
        let start = iova & !(PAGE_SIZE - 1);
        self.state.write().unpin(device, start, npages);
    }
}

/// Returns `npages` pages from the one around `iova` on; `None` when they wrap.
fn page_range(iova: Iova, npages: u64) -> Option<IovaRange> {
    IovaRange::sized(iova & !(PAGE_SIZE - 1), npages.checked_mul(PAGE_SIZE)?)
}

impl State {
    /// Pins `range`, adding its memory to `spans` and the number of pages that were pinned to `done`.
    fn pin(
        &mut self,
        device: DeviceId,
        range: IovaRange,
        prot: Prot,
        spans: &mut Vec<HostSpan>,
        done: &mut u64,
    ) -> Result<(), Errno> {
        let charge = !self.has_hardware();
        let mut rest = Some(range);
        while let Some(part) = rest {
            let mapping = self.mappings.at_mut(part.start()).ok_or(Errno::EINVAL)?;
            if !mapping.prot.contains(prot) {
                return Err(Errno::EPERM);
            }
            let last = part.last().min(mapping.range.last());
            let end = mapping.page_of(last) + 1;
            let mut page = mapping.page_of(part.start());
            while page < end {
                let (run, pinned) = mapping.pins.run(page..end);
                page = run.end;
                *done += if pinned {
                    mapping.pin_again(device, run, spans)
                } else {
                    mapping.pin_new(device, run, charge, spans)?
                };
            }
            rest = last.checked_add(1).and_then(|next| IovaRange::new(next, range.last()));
        }
        Ok(())
    }

    /// Unpins pages from `start` on, as far as there are mappings.
    fn unpin(&mut self, device: DeviceId, start: Iova, npages: u64) {
        let charged = !self.has_hardware();
        let last = start.saturating_add(npages.saturating_mul(PAGE_SIZE).saturating_sub(1));
        let mut rest = if npages == 0 { None } else { IovaRange::new(start, last) };
        while let Some(part) = rest {
            let Some(mapping) = self.mappings.at_mut(part.start()) else { return };
            let last = part.last().min(mapping.range.last());
            let pages = mapping.page_of(part.start())..mapping.page_of(last) + 1;
            let free = mapping.pins.unpin(device, pages);
            if charged {
                mapping.uncharge(free);
            }
            rest = last.checked_add(1).and_then(|next| IovaRange::new(next, part.last()));
        }
    }
}

impl Mapping {
    /// Pins pages that are pinned already; returns how many.
    fn pin_again(&mut self, device: DeviceId, run: Range<u64>, spans: &mut Vec<HostSpan>) -> u64 {
        for page in run.clone() {
            let span = self.pins.memory_of(page).expect("the run is pinned");
            self.pins.pin(device, page, &span);
            push(spans, span);
        }
        run.end - run.start
    }

    /// Pins pages that nobody has pinned: looks them up and charges them; returns how many.
    fn pin_new(
        &mut self,
        device: DeviceId,
        run: Range<u64>,
        charge: bool,
        spans: &mut Vec<HostSpan>,
    ) -> Result<u64, Errno> {
        let vaddr = self.vaddr + (run.start << PAGE_SHIFT);
        let len = (run.end - run.start) << PAGE_SHIFT;
        let found = self.owner().mm.get_frames(vaddr, len, self.prot.contains(Prot::WRITE));
        let pages = found.as_ref().map_or_else(|stop| stop.done, |_| len) >> PAGE_SHIFT;
        // Pages before one that is missing are charged first: the limit may be hit before it.
        if charge {
            self.charge(pages)?;
        }
        let found = found.map_err(|stop| {
            self.uncharge(if charge { pages } else { 0 });
            stop.errno
        })?;
        let mut page = run.start;
        for span in found {
            self.pins.pin(device, page, &span);
            page += span.len >> PAGE_SHIFT;
            push(spans, span);
        }
        Ok(pages)
    }
}

fn push(spans: &mut Vec<HostSpan>, span: HostSpan) {
    if !spans.last_mut().is_some_and(|last| last.merge(&span)) {
        spans.push(span);
    }
}
