//! Body of `VFIO_USER_DEVICE_SET_IRQS`.

use super::{Fields, put_u32};

/// Head of the request; booleans follow for `DATA_BOOL`, descriptors come beside it for `DATA_EVENTFD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetIrqsBody {
    /// Size of head and data as the client knows it.
    pub argsz: u32,
    /// `VFIO_IRQ_SET_*`.
    pub flags: u32,
    /// Interrupt index.
    pub index: u32,
    /// First interrupt.
    pub start: u32,
    /// Number of interrupts.
    pub count: u32,
}

impl SetIrqsBody {
    /// Size of the head.
    pub const SIZE: u32 = 20;

    /// Reads the head and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        let (argsz, flags, index) = (f.u32()?, f.u32()?, f.u32()?);
        Some((Self { argsz, flags, index, start: f.u32()?, count: f.u32()? }, f.rest()))
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.index, self.start, self.count] {
            put_u32(to, field);
        }
    }
}
