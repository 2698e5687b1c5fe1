//! Mapping BARs into a program.

use std::sync::Weak;

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::VFIO_PCI_ROM_REGION_INDEX;

use super::session::Session;
use crate::ops::{MappedRegion, RegionMapping};
use crate::pci::BarKind;

/// Answers the accesses of a program to a mapped BAR.
struct MappedBar {
    session: Weak<Session>,
    bar: u8,
}

impl Session {
    /// Maps a part of a BAR.
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
            && let Some(BarKind::Memory(memory)) = self.function.bar(region as usize).map(|bar| &bar.kind)
            && end <= memory.len()
        {
            return Ok(RegionMapping::Memory { memory: memory.clone(), offset, len });
        }
        let region = MappedBar { session: self.this.clone(), bar: region as u8 };
        Ok(RegionMapping::Trapped { region: std::sync::Arc::new(region), offset, len })
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
