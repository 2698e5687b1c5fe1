//! Bodies about the client's memory.

use super::{Fields, put_u32, put_u64};

/// `VFIO_USER_DMA_MAP`: memory that the server may reach, by the descriptor beside the message or by messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaMap {
    /// Size of this body as the client knows it.
    pub argsz: u32,
    /// Bit 0: the device may read; bit 1: it may write.
    pub flags: u32,
    /// Where in the file the memory starts, bytes.
    pub offset: u64,
    /// DMA address.
    pub iova: u64,
    /// Bytes.
    pub size: u64,
}

impl DmaMap {
    /// Size of the body.
    pub const SIZE: u32 = 32;

    /// Reads the body.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut f = Fields::new(body);
        Some(Self { argsz: f.u32()?, flags: f.u32()?, offset: f.u64()?, iova: f.u64()?, size: f.u64()? })
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u32(to, self.argsz);
        put_u32(to, self.flags);
        put_u64(to, self.offset);
        put_u64(to, self.iova);
        put_u64(to, self.size);
    }
}

/// `VFIO_USER_DMA_UNMAP`: a range that goes; the reply repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaUnmap {
    /// Size of this body as the client knows it.
    pub argsz: u32,
    /// Bit 0: a dirty bitmap is wanted; bit 1: everything goes.
    pub flags: u32,
    /// DMA address.
    pub iova: u64,
    /// Bytes.
    pub size: u64,
}

impl DmaUnmap {
    /// Size of the body without a bitmap.
    pub const SIZE: u32 = 24;

    /// Reads the body.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut f = Fields::new(body);
        Some(Self { argsz: f.u32()?, flags: f.u32()?, iova: f.u64()?, size: f.u64()? })
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u32(to, self.argsz);
        put_u32(to, self.flags);
        put_u64(to, self.iova);
        put_u64(to, self.size);
    }
}

/// Head of `VFIO_USER_DMA_READ` and `VFIO_USER_DMA_WRITE`; the data follows in the write and in the read's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaCopy {
    /// DMA address.
    pub iova: u64,
    /// Bytes.
    pub count: u64,
}

impl DmaCopy {
    /// Size of the head.
    pub const SIZE: usize = 16;

    /// Reads the head and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        Some((Self { iova: f.u64()?, count: f.u64()? }, f.rest()))
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u64(to, self.iova);
        put_u64(to, self.count);
    }
}
