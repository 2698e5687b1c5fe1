//! Bodies that describe the device; request and reply have the same layout.

use super::{Fields, put_u32, put_u64};

/// `VFIO_USER_DEVICE_GET_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfoBody {
    /// Size of the body as its sender knows it.
    pub argsz: u32,
    /// `VFIO_DEVICE_FLAGS_*`.
    pub flags: u32,
    /// Highest region index + 1.
    pub num_regions: u32,
    /// Highest interrupt index + 1.
    pub num_irqs: u32,
}

impl DeviceInfoBody {
    /// Size of the body.
    pub const SIZE: u32 = 16;

    /// Reads the body.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut f = Fields::new(body);
        Some(Self { argsz: f.u32()?, flags: f.u32()?, num_regions: f.u32()?, num_irqs: f.u32()? })
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.num_regions, self.num_irqs] {
            put_u32(to, field);
        }
    }
}

/// `VFIO_USER_DEVICE_GET_REGION_INFO`; capabilities follow where `argsz` leaves room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionInfoBody {
    /// Size that the sender has room for, or needs.
    pub argsz: u32,
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// Region index.
    pub index: u32,
    /// Where the first capability starts, 0: none.
    pub cap_offset: u32,
    /// Bytes.
    pub size: u64,
    /// Where the region starts in the descriptor that comes with the reply.
    pub offset: u64,
}

impl RegionInfoBody {
    /// Size of the body without capabilities.
    pub const SIZE: u32 = 32;

    /// Reads the body and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        let (argsz, flags, index, cap_offset) = (f.u32()?, f.u32()?, f.u32()?, f.u32()?);
        Some((Self { argsz, flags, index, cap_offset, size: f.u64()?, offset: f.u64()? }, f.rest()))
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.index, self.cap_offset] {
            put_u32(to, field);
        }
        put_u64(to, self.size);
        put_u64(to, self.offset);
    }
}

/// `VFIO_USER_DEVICE_GET_IRQ_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IrqInfoBody {
    /// Size of the body as its sender knows it.
    pub argsz: u32,
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// Interrupt index.
    pub index: u32,
    /// Interrupts within it.
    pub count: u32,
}

impl IrqInfoBody {
    /// Size of the body.
    pub const SIZE: u32 = 16;

    /// Reads the body.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut f = Fields::new(body);
        Some(Self { argsz: f.u32()?, flags: f.u32()?, index: f.u32()?, count: f.u32()? })
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.index, self.count] {
            put_u32(to, field);
        }
    }
}
