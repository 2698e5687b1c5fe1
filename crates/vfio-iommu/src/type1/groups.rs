//! Attaching and detaching groups, and what that means for the mappings there are.

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;

use super::Type1;
use super::geometry::HwIommu;
use super::iova_list::IovaList;
use super::mapping::Mapping;
use super::state::{ANY_PAGE_SIZE, HwGroup, State};
use crate::{Editor, IoPageTable, IovaRange};

impl Type1 {
    /// Attaches a group that sits behind the host's IOMMU (`VFIO_GROUP_SET_CONTAINER`, `VFIO_SET_IOMMU`).
    ///
    /// The first such group has every mapping that mediated devices left unpinned pinned, charged and put
    /// into the page table.
    ///
    /// # Errors
    /// `EBUSY` a user address is taken away at the moment; `EINVAL` attached already; `EINVAL` no page size in
    /// common with the other hardware, a mapping outside the aperture or in a reserved range, or no usable
    /// address left; then, mapping by mapping: `ENOMEM` over the locked-memory limit, `EFAULT` memory that is
    /// not there or lacks a right, `ERANGE` beyond the aperture, `EINVAL` smaller than the IOMMU's pages.
    /// Nothing changes then.
    pub fn attach_hw(&self, group: u32, iommu: &HwIommu) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        state.check_attachable(group)?;
        let pgsizes = state.shared_pgsizes(Some(iommu)).ok_or(Errno::EINVAL)?;
        let iovas = state.iovas_with(iommu).ok_or(Errno::EINVAL)?;
        if !state.hw_groups.iter().any(|other| other.iommu.compatible(iommu)) {
            state.replay(&self.0.table, iommu)?;
        }
        state.pgsizes = pgsizes;
        state.iovas = iovas;
        state.hw_groups.push(HwGroup { number: group, iommu: iommu.clone() });
        Ok(())
    }

    /// Attaches a group of mediated devices.
    ///
    /// # Errors
    /// `EBUSY` a user address is taken away at the moment; `EINVAL` attached already.
    pub fn attach_emulated(&self, group: u32) -> Result<(), Errno> {
        let mut state = self.0.state.write();
        state.check_attachable(group)?;
        state.emulated_groups.push(group);
        Ok(())
    }

    /// Detaches a group; one that is not attached is left alone.
    ///
    /// With the last group all mappings go. When the last hardware leaves and mediated devices stay, mappings
    /// stay too: they leave the page table, and only what drivers have pinned remains charged.
    pub fn detach(&self, group: u32) {
        let mut state = self.0.state.write();
        if let Some(index) = state.emulated_groups.iter().position(|number| *number == group) {
            state.emulated_groups.remove(index);
        } else if let Some(index) = state.hw_groups.iter().position(|known| known.number == group) {
            state.detach_hw(index, &self.0.table);
        } else {
            return;
        }
        if state.emulated_groups.is_empty() && state.hw_groups.is_empty() {
            state.remove_all(&self.0.table);
        }
    }
}

impl State {
    fn check_attachable(&self, group: u32) -> Result<(), Errno> {
        if self.vaddrs_invalid > 0 {
            return Err(Errno::EBUSY);
        }
        let known = self.emulated_groups.contains(&group);
        if known || self.hw_groups.iter().any(|other| other.number == group) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Returns the page sizes that all hardware and `more` share, those below the machine's as one of its
    /// pages; `None` when there is none.
    fn shared_pgsizes(&self, more: Option<&HwIommu>) -> Option<u64> {
        let all = self.hw_groups.iter().map(|group| &group.iommu).chain(more);
        let shared = all.fold(u64::MAX, |shared, iommu| shared & iommu.pgsizes);
        let small = if shared & !ANY_PAGE_SIZE != 0 { PAGE_SIZE } else { 0 };
        Some(shared & ANY_PAGE_SIZE | small).filter(|sizes| *sizes != 0)
    }

    /// Returns the usable ranges once `iommu` is there too; `None` when mappings are in its way, or nothing
    /// is left.
    fn iovas_with(&self, iommu: &HwIommu) -> Option<IovaList> {
        if let Some(hull) = self.iovas.hull() {
            let lost_below = iommu.aperture.start().checked_sub(1);
            let lost_below = lost_below.and_then(|last| IovaRange::new(hull.start(), last));
            let lost_above = iommu.aperture.last().checked_add(1);
            let lost_above = lost_above.and_then(|start| IovaRange::new(start, hull.last()));
            let mapped = |range| self.mappings.overlapping(range).is_some();
            if lost_below.into_iter().chain(lost_above).any(mapped) {
                return None;
            }
        }
        if iommu.excluded().any(|range| self.mappings.overlapping(range).is_some()) {
            return None;
        }
        self.iovas.clipped(iommu.aperture)?.without(iommu.excluded())
    }

    /// Brings the mappings to a new domain, pinning them if it is the first.
    ///
    /// # Errors
    /// As for [`Type1::attach_hw`]; nothing is left pinned or mapped then.
    fn replay(&mut self, table: &IoPageTable, iommu: &HwIommu) -> Result<(), Errno> {
        if self.has_hardware() {
            return self.mappings.iter().try_for_each(|mapping| mapping.check_domain(iommu));
        }
        let mut editor = table.edit();
        let failed = self.mappings.iter_mut().find_map(|mapping| {
            let errno = mapping.enter_table(&mut editor, iommu).err()?;
            Some((mapping.range, errno))
        });
        let Some((stop, errno)) = failed else { return Ok(()) };
        for mapping in self.mappings.iter_mut().take_while(|mapping| mapping.range != stop) {
            mapping.leave_table(&mut editor);
        }
        Err(errno)
    }

    fn detach_hw(&mut self, index: usize, table: &IoPageTable) {
        let HwGroup { iommu, .. } = self.hw_groups.remove(index);
        if !self.has_hardware() {
            let mut editor = table.edit();
            self.mappings.iter_mut().for_each(|mapping| mapping.leave_table(&mut editor));
        }
        let mut apertures = self.hw_groups.iter().map(|group| group.iommu.aperture);
        let shared = apertures.try_fold(IovaRange::ALL, IovaRange::intersect);
        let same_domain = self.hw_groups.iter().any(|group| group.iommu.compatible(&iommu));
        let hull = if same_domain { self.iovas.hull() } else { shared };
        let reserved = self.hw_groups.iter().flat_map(|group| group.iommu.excluded());
        if let Some(list) = hull.and_then(|hull| IovaList::of(hull).without(reserved)) {
            self.iovas = list;
        }
        self.pgsizes = self.shared_pgsizes(None).unwrap_or(ANY_PAGE_SIZE);
        if self.tracking {
            // What the group wrote is not known, so it may be everything.
            self.mappings.iter_mut().for_each(Mapping::mark_all_dirty);
        }
    }
}

impl Mapping {
    /// Checks that a domain can hold this mapping.
    fn check_domain(&self, iommu: &HwIommu) -> Result<(), Errno> {
        if !iommu.aperture.covers(self.range) {
            return Err(Errno::ERANGE);
        }
        let smallest = iommu.pgsizes & iommu.pgsizes.wrapping_neg();
        if self.range.is_aligned(smallest) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Pins the memory and puts it within reach of hardware.
    fn enter_table(&mut self, editor: &mut Editor<'_>, iommu: &HwIommu) -> Result<(), Errno> {
        let spans = self.pin_all()?;
        let fits = self.check_domain(iommu);
        let mapped = fits.and_then(|()| editor.map_spans(self.range.start(), &spans, self.prot));
        mapped.inspect_err(|_| self.keep_driver_pins())
    }

    /// Takes the memory out of reach of hardware.
    fn leave_table(&mut self, editor: &mut Editor<'_>) {
        editor.unmap(self.range).expect("mappings are page aligned");
        self.keep_driver_pins();
    }

    fn mark_all_dirty(&mut self) {
        if let Some(bitmap) = self.dirty.get_mut() {
            bitmap.set_all();
        }
    }
}
