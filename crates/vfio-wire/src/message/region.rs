//! Bodies of region accesses.

use super::{Fields, put_u32, put_u64};

/// Head of `VFIO_USER_REGION_READ` and `VFIO_USER_REGION_WRITE`; data follows in the write and in the read's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionAccess {
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Region index.
    pub region: u32,
    /// Bytes.
    pub count: u32,
}

impl RegionAccess {
    /// Size of the head.
    pub const SIZE: usize = 16;

    /// Reads the head and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        Some((Self { offset: f.u64()?, region: f.u32()?, count: f.u32()? }, f.rest()))
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u64(to, self.offset);
        put_u32(to, self.region);
        put_u32(to, self.count);
    }
}

/// One write of `VFIO_USER_REGION_WRITE_MULTI`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiWrite {
    /// Where and how much; at most eight bytes.
    pub access: RegionAccess,
    /// The data, `access.count` bytes of it.
    pub data: [u8; 8],
}

impl MultiWrite {
    /// Size of one write.
    pub const SIZE: usize = 24;

    /// Reads all writes of a body; `None` where their number and the size of the body do not agree.
    #[must_use]
    pub fn read_all(body: &[u8]) -> Option<Vec<Self>> {
        let mut f = Fields::new(body);
        let count = usize::try_from(f.u64()?).ok()?;
        if count.checked_mul(Self::SIZE)? != f.rest().len() {
            return None;
        }
        let (writes, _) = f.rest().as_chunks::<{ Self::SIZE }>();
        writes
            .iter()
            .map(|bytes| {
                let (access, data) = RegionAccess::read(bytes)?;
                Some(Self { access, data: data.try_into().ok()? })
            })
            .collect()
    }
}

/// Head of `VFIO_USER_DEVICE_GET_REGION_IO_FDS`; in the reply, entries of 40 bytes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionFdsBody {
    /// Size that the sender has room for, or needs.
    pub argsz: u32,
    /// None are defined.
    pub flags: u32,
    /// Region index.
    pub index: u32,
    /// Entries that follow.
    pub count: u32,
}

impl RegionFdsBody {
    /// Size of the head.
    pub const SIZE: u32 = 16;
    /// Size of an entry.
    pub const ENTRY_SIZE: u32 = 40;

    /// Reads the head.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut f = Fields::new(body);
        Some(Self { argsz: f.u32()?, flags: f.u32()?, index: f.u32()?, count: f.u32()? })
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.index, self.count] {
            put_u32(to, field);
        }
    }

    /// Appends an entry: an eventfd that stands for writes of `size` bytes at `offset`. `fd_index` counts the
    /// descriptors beside the message.
    pub fn write_ioeventfd(to: &mut Vec<u8>, offset: u64, size: u64, fd_index: u32, datamatch: Option<u64>) {
        put_u64(to, offset);
        put_u64(to, size);
        put_u32(to, fd_index);
        put_u32(to, 0); // type: ioeventfd
        put_u32(to, u32::from(datamatch.is_some()));
        put_u32(to, 0);
        put_u64(to, datamatch.unwrap_or(0));
    }
}
