//! `VFIO_IOMMU_MAP_DMA`: making mappings, and giving them a new user address.

use std::sync::Arc;

use vfio_memory::{AddressSpace, Prot};
use vfio_uapi::Errno;
use vfio_uapi::vfio::type1::{VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_VADDR, VFIO_DMA_MAP_FLAG_WRITE};

use super::changes::Changes;
use super::mapping::Mapping;
use super::owner::Owner;
use super::state::State;
use super::{Batch, Type1, bitmap, dirty};
use crate::IovaRange;

/// Asks for a mapping, as `struct vfio_iommu_type1_dma_map` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapDma {
    /// `VFIO_DMA_MAP_FLAG_*`.
    pub flags: u32,
    /// Where the memory lies in the process.
    pub vaddr: u64,
    /// Where the devices see it.
    pub iova: u64,
    /// Bytes.
    pub size: u64,
}

/// A request whose shape is in order.
struct Checked {
    range: IovaRange,
    vaddr: u64,
    /// Rights of a new mapping; `None` gives an existing one a new address.
    prot: Option<Prot>,
}

impl MapDma {
    fn check(&self) -> Result<Checked, Errno> {
        const RIGHTS: u32 = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
        if self.flags & !(RIGHTS | VFIO_DMA_MAP_FLAG_VADDR) != 0 || self.size == 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(self.iova, self.size).ok_or(Errno::EOVERFLOW)?;
        self.vaddr.checked_add(self.size - 1).ok_or(Errno::EOVERFLOW)?;
        let mut prot = Prot::empty();
        prot.set(Prot::READ, self.flags & VFIO_DMA_MAP_FLAG_READ != 0);
        prot.set(Prot::WRITE, self.flags & VFIO_DMA_MAP_FLAG_WRITE != 0);
        let readdress = self.flags & VFIO_DMA_MAP_FLAG_VADDR != 0;
        if readdress != prot.is_empty() {
            return Err(Errno::EINVAL);
        }
        Ok(Checked { range, vaddr: self.vaddr, prot: (!readdress).then_some(prot) })
    }
}

impl Type1 {
    /// Maps memory of `mm` for the devices, or gives a mapping whose address was taken away a new one
    /// (`VFIO_IOMMU_MAP_DMA`).
    ///
    /// With hardware attached, the memory is pinned and charged now and stays so even when the process unmaps
    /// it. Without, the addresses are not looked at.
    ///
    /// # Errors
    /// `EINVAL` unknown flags, or size zero; `EOVERFLOW` `iova` or `vaddr` wraps; `EINVAL` neither or both of
    /// rights and `VADDR`; `EINVAL` not aligned to the smallest page size.
    ///
    /// With `VADDR`: `ENOENT` no mapping; `EINVAL` not exactly this one, or its address is valid; `ENOMEM` the
    /// charge does not fit the limit of another process than the one that mapped it.
    ///
    /// Else: `EEXIST` overlaps a mapping; `ENOSPC` at the limit of mappings; `EINVAL` outside the usable
    /// ranges. With hardware, in order of address: `ENOMEM` over the locked-memory limit, `EFAULT` memory that
    /// is not there or lacks a right. `EINVAL` while dirty pages are tracked: more pages than a bitmap can
    /// tell. A failed call changes nothing.
    pub fn map_dma(&self, mm: &Arc<AddressSpace>, request: &MapDma) -> Result<(), Errno> {
        let checked = request.check()?;
        let mut state = self.0.state.write();
        state.map(&checked, mm, &mut Changes::to(&self.0.table))
    }

    /// Maps one request after the other under one lock; stops at the first that is refused, with the errors
    /// of [`map_dma`](Self::map_dma).
    pub fn map_batch(&self, mm: &Arc<AddressSpace>, requests: impl IntoIterator<Item = MapDma>) -> Batch {
        let mut state = self.0.state.write();
        let mut changes = Changes::to(&self.0.table);
        Batch::run(requests, |request| state.map(&request.check()?, mm, &mut changes))
    }
}

impl State {
    fn map(
        &mut self,
        request: &Checked,
        mm: &Arc<AddressSpace>,
        changes: &mut Changes<'_>,
    ) -> Result<(), Errno> {
        let Checked { range, vaddr, .. } = *request;
        if (range.start() | range.size() | vaddr) & (self.page_size() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let Some(prot) = request.prot else { return self.set_vaddr(range, vaddr, mm) };
        if self.mappings.overlapping(range).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.entries_left == 0 {
            return Err(Errno::ENOSPC);
        }
        if !self.iovas.allows(range) {
            return Err(Errno::EINVAL);
        }
        let mut mapping = Mapping::new(range, vaddr, prot, Owner::new(mm));
        if self.has_hardware() {
            let spans = mapping.pin_all()?;
            let mapped = self
                .check_trackable(range)
                .and_then(|()| changes.editor().map_spans(range.start(), &spans, prot));
            if let Err(errno) = mapped {
                mapping.uncharge_all();
                return Err(errno);
            }
        }
        self.check_trackable(range)?;
        if self.tracking {
            *mapping.dirty.get_mut() = Some(bitmap::DirtyBitmap::default());
        }
        self.insert(mapping);
        Ok(())
    }

    fn check_trackable(&self, range: IovaRange) -> Result<(), Errno> {
        if self.tracking { dirty::check_trackable(range, self.page_size()) } else { Ok(()) }
    }

    fn set_vaddr(&mut self, range: IovaRange, vaddr: u64, mm: &Arc<AddressSpace>) -> Result<(), Errno> {
        let mapping = self.mappings.overlapping_mut(range).ok_or(Errno::ENOENT)?;
        if !mapping.vaddr_invalid || mapping.range != range {
            return Err(Errno::EINVAL);
        }
        if !mapping.owner().is(mm) {
            mapping.change_owner(Owner::new(mm))?;
        }
        mapping.vaddr = vaddr;
        mapping.vaddr_invalid = false;
        self.vaddrs_invalid -= 1;
        Ok(())
    }
}
