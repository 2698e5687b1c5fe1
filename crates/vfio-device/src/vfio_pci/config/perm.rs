//! Which bits of a capability are virtual, and which can be written.

/// Makes every bit of a register virtual.
pub(super) const ALL_VIRT: u32 = u32::MAX;
/// Leaves every bit of a register to the hardware.
pub(super) const NO_VIRT: u32 = 0;
/// Lets every bit of a register be written.
pub(super) const ALL_WRITE: u32 = u32::MAX;
/// Lets no bit of a register be written.
pub(super) const NO_WRITE: u32 = 0;

/// Holds two bits for each bit of a capability; beyond its end nothing is virtual or writable.
#[derive(Debug, Clone)]
pub(super) struct PermBits {
    virt: Vec<u8>,
    write: Vec<u8>,
}

impl PermBits {
    /// Makes a capability of `size` bytes that is read from the hardware and not written.
    pub(super) fn new(size: usize) -> Self {
        let size = size.next_multiple_of(4);
        Self { virt: vec![0; size], write: vec![0; size] }
    }

    fn set(mut self, offset: u16, len: usize, virt: u32, write: u32) -> Self {
        let at = usize::from(offset);
        self.virt[at..at + len].copy_from_slice(&virt.to_le_bytes()[..len]);
        self.write[at..at + len].copy_from_slice(&write.to_le_bytes()[..len]);
        self
    }

    /// Describes a register of one byte.
    pub(super) fn byte(self, offset: u16, virt: u32, write: u32) -> Self {
        self.set(offset, 1, virt, write)
    }

    /// Describes a register of two bytes.
    pub(super) fn word(self, offset: u16, virt: u32, write: u32) -> Self {
        self.set(offset, 2, virt, write)
    }

    /// Describes a register of four bytes.
    pub(super) fn dword(self, offset: u16, virt: u32, write: u32) -> Self {
        self.set(offset, 4, virt, write)
    }

    /// Returns the virtual bits of a byte.
    pub(super) fn virt(&self, offset: usize) -> u8 {
        self.virt.get(offset).copied().unwrap_or(0)
    }

    /// Returns the writable bits of a byte.
    pub(super) fn write(&self, offset: usize) -> u8 {
        self.write.get(offset).copied().unwrap_or(0)
    }
}
