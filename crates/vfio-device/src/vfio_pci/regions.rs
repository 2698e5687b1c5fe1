//! Regions: how large they are and what may be done to them.

use vfio_memory::PAGE_SIZE;
use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::{
    VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX,
    VFIO_PCI_VGA_REGION_INDEX,
};
use vfio_uapi::vfio::region::{
    VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
};

use super::OFFSET_SHIFT;
use super::session::Session;
use crate::ops::{InfoCapability, RegionInfo};
use crate::pci::BarSpace;

/// Bytes of the region that holds the legacy VGA ranges.
const VGA_SIZE: u64 = 0xc0000;
/// What a region can be used for that is read and written.
const READ_WRITE: u32 = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

impl Session {
    /// Describes a region.
    ///
    /// # Errors
    /// `EINVAL` there is no such region.
    pub(super) fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        let mut info = RegionInfo { offset: u64::from(index) << OFFSET_SHIFT, ..RegionInfo::default() };
        match index {
            VFIO_PCI_CONFIG_REGION_INDEX => {
                info.size = self.function.config_size() as u64;
                info.flags = READ_WRITE;
            }
            0..=VFIO_PCI_BAR5_REGION_INDEX => {
                let Some(bar) = self.bar(index as usize) else { return Ok(info) };
                info.size = bar.len;
                info.flags = READ_WRITE;
                if self.can_map(index) {
                    info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
                    if self.msix_table.is_some_and(|table| u32::from(table.bar) == index) {
                        info.capabilities.push(InfoCapability::msix_mappable());
                    }
                }
            }
            VFIO_PCI_ROM_REGION_INDEX => {
                if let Some(size) = self.rom_size.filter(|_| self.rom_is_valid()) {
                    info.size = u64::from(size);
                    info.flags = VFIO_REGION_INFO_FLAG_READ;
                }
            }
            VFIO_PCI_VGA_REGION_INDEX if self.has_vga => {
                info.size = VGA_SIZE;
                info.flags = READ_WRITE;
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(info)
    }

    /// Tells whether a BAR can be mapped: memory that has its pages for itself.
    pub(super) fn can_map(&self, index: u32) -> bool {
        self.bar(index as usize).is_some_and(|bar| {
            bar.space != BarSpace::Io && (bar.len >= PAGE_SIZE || bar.start % PAGE_SIZE == 0)
        })
    }

    /// Tells whether the ROM starts as an option ROM does.
    pub(super) fn rom_is_valid(&self) -> bool {
        self.function.rom().is_some_and(|rom| rom.image.starts_with(&[0x55, 0xaa]))
    }
}
