//! Mapping BARs into a program.

use std::sync::Weak;

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::VFIO_PCI_ROM_REGION_INDEX;

use super::session::Session;
use crate::ops::{MappedRegion, RegionMapping, RegionMemory};
use crate::pci::BarKind;

/// Answers the accesses of a program to a mapped BAR.
struct MappedBar {
    session: Weak<Session>,
    bar: u8,
}

impl Session {
    /// Maps a part of a BAR. Where errors cut functions off, its accesses are answered one by one, so that they can be.
    ///
    /// # Errors
    /// `EINVAL` no BAR, one that cannot be mapped, nothing, or beyond its pages.
    pub(super) fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        if region >= VFIO_PCI_ROM_REGION_INDEX || !self.can_map(region) || len == 0 {
            return Err(Errno::EINVAL);
        }
        let bar = self.bar(region as usize).ok_or(Errno::EINVAL)?;
        let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > bar.len.next_multiple_of(PAGE_SIZE) || !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if self.is_plain_memory(region as u8)
            && !self.function.dma().is_guarded()
            && let Some(BarKind::Memory(memory)) = self.function.bar(region as usize).map(|bar| &bar.kind)
            && end <= memory.len()
        {
            return Ok(RegionMapping::Memory { memory: memory.clone(), offset, len });
        }
        let region = MappedBar { session: self.this.clone(), bar: region as u8 };
        Ok(RegionMapping::Trapped { region: std::sync::Arc::new(region), offset, len })
    }
}

impl Session {
    /// Lists the memory behind a BAR that can be mapped: whole pages only.
    pub(super) fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        if region >= VFIO_PCI_ROM_REGION_INDEX || !self.can_map(region) || self.function.dma().is_guarded() {
            return Vec::new();
        }
        let (Some(bar), Some(spec)) = (self.bar(region as usize), self.function.bar(region as usize)) else {
            return Vec::new();
        };
        let in_table = |start: u64, len: u64| {
            self.msix_table.is_some_and(|table| {
                u32::from(table.bar) == region && start < table.end && table.start < start + len
            })
        };
        let mut areas = match &spec.kind {
            BarKind::Model => Vec::new(),
            BarKind::Memory(memory) => {
                vec![RegionMemory { offset: 0, len: bar.len, memory: memory.clone(), memory_offset: 0 }]
            }
            BarKind::Windows(windows) => windows
                .iter()
                .map(|window| RegionMemory {
                    offset: window.offset,
                    len: window.len,
                    memory: window.memory.clone(),
                    memory_offset: window.memory_offset,
                })
                .collect(),
        };
        areas.retain(|area| {
            (area.offset | area.len | area.memory_offset).is_multiple_of(PAGE_SIZE)
                && !in_table(area.offset, area.len)
                // Whoever maps a register would not be noticed ringing it.
                && !spec.doorbells.iter().any(|bell| area.find(bell.offset, 1).is_some())
        });
        areas
    }
}

impl MappedBar {
    /// Runs an access if the BAR can be reached; otherwise a program would get `SIGBUS`.
    fn reach(
        &self,
        run: impl FnOnce(&Session, u8) -> Result<(), Errno>,
        offset: u64,
        len: usize,
    ) -> Result<bool, Errno> {
        let session = self.session.upgrade().ok_or(Errno::EFAULT)?;
        if !session.memory_enabled() {
            return Err(Errno::EFAULT);
        }
        let bar = session.bar(usize::from(self.bar)).ok_or(Errno::EFAULT)?;
        // The rest of the last page of a small BAR is nobody's.
        if offset + len as u64 > bar.len {
            return Ok(false);
        }
        run(&session, self.bar)?;
        Ok(true)
    }
}

impl MappedRegion for MappedBar {
    fn load(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let len = into.len();
        let answered =
            self.reach(|session, bar| session.function.bar_read(bar, offset, into), offset, len)?;
        if !answered {
            into.fill(0xff);
        }
        Ok(())
    }

    fn store(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        self.reach(|session, bar| session.function.bar_write(bar, offset, from), offset, from.len()).map(drop)
    }
}
