//! Pins of many single pages under one lock, as `vfio_pin_pages` took them while it took an array.

use vfio_memory::{HostSpan, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::ledger::Run;
use super::listener::DeviceId;
use super::mapping::Mapping;
use super::state::State;
use super::{Domain, Type1};
use crate::{IovaRange, REFUSED};

/// The area of the process that was looked up last, in pages of the mapping.
struct Area {
    first: u64,
    end: u64,
    run: Run,
}

impl Type1 {
    /// Returns the bytes that counting pins takes.
    #[must_use]
    pub fn pin_memory_usage(&self) -> usize {
        self.0.state.read().mappings.iter().map(|mapping| mapping.pins.bytes()).sum()
    }
}

impl Domain {
    /// Pins one page at each address; see [`DmaSpace::pin_batch`](crate::DmaSpace::pin_batch).
    ///
    /// # Errors
    /// As for `pin_pages`.
    pub(super) fn pin_batch(
        &self,
        device: DeviceId,
        iovas: &[u64],
        prot: Prot,
        hosts: &mut [u64],
    ) -> Result<(), Errno> {
        if hosts.len() != iovas.len() {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.write();
        self.check_pin(&state, device, iovas.len() as u64)?;
        let mut done = 0;
        let result = state.pin_each(device, iovas, prot, hosts, &mut done);
        if result.is_err() {
            state.unpin_each(device, &iovas[..done]);
        } else if state.tracking {
            let pages = iovas.iter().filter_map(|iova| IovaRange::sized(iova & !(PAGE_SIZE - 1), PAGE_SIZE));
            pages.for_each(|page| state.mark_dirty(page));
        }
        result
    }

    /// Takes one pin off the page at each address; pages that `device` has not pinned are passed over.
    pub(super) fn unpin_batch(&self, device: DeviceId, iovas: &[u64]) {
        self.state.write().unpin_each(device, iovas);
    }
}

impl State {
    fn pin_each(
        &mut self,
        device: DeviceId,
        iovas: &[u64],
        prot: Prot,
        hosts: &mut [u64],
        done: &mut usize,
    ) -> Result<(), Errno> {
        let charge = !self.has_hardware();
        while let Some(first) = iovas.get(*done) {
            let mapping = self.mappings.at_mut(*first).ok_or(Errno::EINVAL)?;
            if !mapping.prot.contains(prot) {
                return Err(Errno::EPERM);
            }
            let mut area = None;
            while let Some(iova) = iovas.get(*done).filter(|iova| mapping.range.contains(**iova)) {
                hosts[*done] = mapping.pin_one(device, mapping.page_of(*iova), charge, &mut area)?;
                *done += 1;
            }
        }
        Ok(())
    }

    fn unpin_each(&mut self, device: DeviceId, mut iovas: &[u64]) {
        let charged = !self.has_hardware();
        while let [first, rest @ ..] = iovas {
            let Some(mapping) = self.mappings.at_mut(*first) else {
                iovas = rest;
                continue;
            };
            let inside = iovas.iter().take_while(|iova| mapping.range.contains(**iova)).count();
            let (here, rest) = iovas.split_at(inside);
            let mut free = 0;
            for iova in here {
                free += u64::from(mapping.pins.unpin_one(device, mapping.page_of(*iova)));
            }
            if charged {
                mapping.uncharge(free);
            }
            iovas = rest;
        }
    }
}

impl Mapping {
    /// Pins one page, and returns its host address if that is one for life.
    #[inline]
    fn pin_one(
        &mut self,
        device: DeviceId,
        page: u64,
        charge: bool,
        area: &mut Option<Area>,
    ) -> Result<u64, Errno> {
        if let Some(run) = self.pins.run_of(page) {
            let run = run.clone();
            self.pins.pin_one(device, page, &run);
            return Ok(host(&run, page));
        }
        let found = match area {
            Some(area) if (area.first..area.end).contains(&page) => area,
            _ => area.insert(self.area_of(page)?),
        };
        if charge {
            self.charge(1)?;
        }
        self.pins.pin_one(device, page, &found.run);
        Ok(host(&found.run, page))
    }

    /// Looks a page up in the process, and with it those that follow it in the same area.
    fn area_of(&self, page: u64) -> Result<Area, Errno> {
        let writable = self.prot.contains(Prot::WRITE);
        let (before, span) = self.owner().mm.area_of(self.vaddr + page * PAGE_SIZE, writable)?;
        let first = page.saturating_sub(before / PAGE_SIZE);
        let skipped = (page - first) * PAGE_SIZE;
        let offset = span.offset + before - skipped;
        let end = first + (span.len - (before - skipped)) / PAGE_SIZE;
        let run = Run::of(&HostSpan { memory: span.memory, offset, len: PAGE_SIZE }, first);
        Ok(Area { first, end, run })
    }
}

#[inline]
fn host(run: &Run, page: u64) -> u64 {
    let base = run.memory().stable_ptr().map(|base| base.addr() as u64);
    base.map_or(REFUSED, |base| base + run.offset(page))
}
