//! Reading and writing regions.

use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::{
    VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX,
    VFIO_PCI_VGA_REGION_INDEX,
};

use super::plan::{Piece, Plan};
use super::session::Session;
use crate::pci::{BarKind, BarSpace};

/// The widest access to a BAR.
const WIDEST: usize = 8;
/// The widest access to ROM and VGA ranges, which often do not take wider ones.
const WIDEST_LEGACY: usize = 4;

impl Session {
    /// Reads from a region.
    ///
    /// # Errors
    /// `EINVAL` no such region or outside of it; `EFAULT` beyond configuration space; `EIO` memory decoding is off;
    /// what a model fails with.
    pub(super) fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match region {
            VFIO_PCI_CONFIG_REGION_INDEX => self.config_read(offset, into),
            0..=VFIO_PCI_BAR5_REGION_INDEX => self.bar_read(region as u8, offset, into),
            VFIO_PCI_ROM_REGION_INDEX => self.rom_read(offset, into),
            VFIO_PCI_VGA_REGION_INDEX => self.vga_read(offset, into),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Writes to a region.
    ///
    /// # Errors
    /// As for [`read`](Self::read); `EINVAL` for the ROM.
    pub(super) fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        match region {
            VFIO_PCI_CONFIG_REGION_INDEX => self.config_write(offset, from),
            0..=VFIO_PCI_BAR5_REGION_INDEX => self.bar_write(region as u8, offset, from),
            VFIO_PCI_VGA_REGION_INDEX => self.vga_write(offset, from),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Plans an access to a BAR; it ends where the BAR ends.
    ///
    /// # Errors
    /// `EINVAL` no such BAR, or the access starts beyond it.
    pub(super) fn bar_plan(&self, bar: u8, offset: u64, len: usize) -> Result<Plan, Errno> {
        let resource = self.bar(usize::from(bar)).ok_or(Errno::EINVAL)?;
        if offset >= resource.len {
            return Err(Errno::EINVAL);
        }
        let len = usize::try_from(resource.len - offset).unwrap_or(usize::MAX).min(len);
        let excluded = match self.msix_table {
            Some(table) if table.bar == bar => table.start..table.end,
            _ => 0..0,
        };
        Ok(Plan::new(offset, len, excluded, WIDEST))
    }

    /// Checks, before each access, that a BAR can be reached.
    ///
    /// # Errors
    /// `EIO` memory decoding is off.
    pub(super) fn check_decoding(&self, bar: u8) -> Result<(), Errno> {
        let memory = self.bar(usize::from(bar)).is_some_and(|bar| bar.space != BarSpace::Io);
        if memory && !self.memory_enabled() { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Tells whether a whole BAR is plain memory, which needs no cutting up.
    pub(super) fn is_plain_memory(&self, bar: u8) -> bool {
        self.function
            .bar(usize::from(bar))
            .is_some_and(|bar| matches!(bar.kind, BarKind::Memory(_)) && bar.doorbells.is_empty())
    }

    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let plan = self.bar_plan(bar, offset, into.len())?;
        let into = &mut into[..plan.left()];
        if self.is_plain_memory(bar) {
            self.check_decoding(bar)?;
            self.function.bar_read(bar, offset, into)?;
            return Ok(into.len());
        }
        let mut done = 0;
        for piece in plan {
            let bytes = &mut into[done..done + piece.len()];
            match piece {
                Piece::Access(at, _) => {
                    self.check_decoding(bar)?;
                    self.function.bar_read(bar, at, bytes)?;
                }
                Piece::Excluded(_) => bytes.fill(0xff),
            }
            done += piece.len();
        }
        Ok(done)
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let plan = self.bar_plan(bar, offset, from.len())?;
        let from = &from[..plan.left()];
        if self.is_plain_memory(bar) {
            self.check_decoding(bar)?;
            self.function.bar_write(bar, offset, from)?;
            return Ok(from.len());
        }
        let mut done = 0;
        for piece in plan {
            if let Piece::Access(at, len) = piece {
                self.check_decoding(bar)?;
                self.function.bar_write(bar, at, &from[done..done + len])?;
            }
            done += piece.len();
        }
        Ok(done)
    }

    fn rom_read(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let size = u64::from(self.rom_size.ok_or(Errno::EINVAL)?);
        if offset >= size {
            return Err(Errno::EINVAL);
        }
        if !self.rom_is_valid() {
            return Err(Errno::ENOMEM);
        }
        let image = self.function.rom().map_or(0, |rom| rom.image.len() as u64);
        let len = usize::try_from(size - offset).unwrap_or(usize::MAX).min(into.len());
        let mut done = 0;
        for piece in Plan::new(offset, len, image..size, WIDEST_LEGACY) {
            let bytes = &mut into[done..done + piece.len()];
            match piece {
                Piece::Access(at, _) => {
                    if !self.memory_enabled() {
                        return Err(Errno::EIO);
                    }
                    self.function.rom_read(at, bytes)?;
                }
                Piece::Excluded(_) => bytes.fill(0xff),
            }
            done += piece.len();
        }
        Ok(done)
    }

    /// Finds a legacy VGA range: whether it is of ports, and where it ends.
    fn vga_range(&self, offset: u64) -> Result<(bool, u64), Errno> {
        match offset {
            _ if !self.has_vga => Err(Errno::EINVAL),
            0xa0000..=0xbffff => Ok((false, 0xc0000)),
            0x3b0..=0x3bb => Ok((true, 0x3bc)),
            0x3c0..=0x3df => Ok((true, 0x3e0)),
            _ => Err(Errno::EINVAL),
        }
    }

    fn vga_read(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let (port, end) = self.vga_range(offset)?;
        let len = into.len().min((end - offset) as usize);
        let mut done = 0;
        for piece in Plan::new(offset, len, 0..0, WIDEST_LEGACY) {
            match piece {
                Piece::Access(at, len) if !self.function.registers_stopped() => {
                    self.function.model().vga_read(port, at as u32, &mut into[done..done + len])?;
                }
                _ => into[done..done + piece.len()].fill(0xff),
            }
            done += piece.len();
        }
        Ok(done)
    }

    fn vga_write(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let (port, end) = self.vga_range(offset)?;
        let len = from.len().min((end - offset) as usize);
        let mut done = 0;
        for piece in Plan::new(offset, len, 0..0, WIDEST_LEGACY) {
            if let Piece::Access(at, len) = piece
                && !self.function.registers_stopped()
            {
                self.function.model().vga_write(port, at as u32, &from[done..done + len])?;
            }
            done += piece.len();
        }
        Ok(done)
    }
}
