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
        to.extend_from_slice(&self.bytes());
    }

    /// Encodes the head.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..8].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.region.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_ne_bytes());
        bytes
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
    /// Reads the head and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        let head = Self { argsz: f.u32()?, flags: f.u32()?, index: f.u32()?, count: f.u32()? };
        Some((head, f.rest()))
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        for field in [self.argsz, self.flags, self.index, self.count] {
            put_u32(to, field);
        }
    }
}

/// An entry of the reply to `VFIO_USER_DEVICE_GET_REGION_IO_FDS`: an eventfd that stands for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoEvent {
    /// Where in the region.
    pub offset: u64,
    /// Width of the writes in bytes; 0: any.
    pub size: u64,
    /// Which of the descriptors beside the message it is.
    pub fd_index: u32,
    /// Only writes of this value; none: any value.
    pub datamatch: Option<u64>,
    /// The region lies in I/O space.
    pub port: bool,
}

impl IoEvent {
    /// Size of an entry.
    pub const SIZE: u32 = 40;
    /// The kind of entry that is an eventfd.
    const IOEVENTFD: u32 = 0;
    /// `KVM_IOEVENTFD_FLAG_DATAMATCH`
    const DATAMATCH: u32 = 1;
    /// `KVM_IOEVENTFD_FLAG_PIO`
    const PORT: u32 = 2;

    /// Takes an entry; `Some(None)` where it is of another kind.
    #[must_use]
    pub fn take(fields: &mut Fields<'_>) -> Option<Option<Self>> {
        let (offset, size, fd_index) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let (kind, flags, _padding, data) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u64()?);
        let datamatch = (flags & Self::DATAMATCH != 0).then_some(data);
        let port = flags & Self::PORT != 0;
        Some((kind == Self::IOEVENTFD).then_some(Self { offset, size, fd_index, datamatch, port }))
    }

    /// Appends the entry.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u64(to, self.offset);
        put_u64(to, self.size);
        put_u32(to, self.fd_index);
        put_u32(to, Self::IOEVENTFD);
        let matched = if self.datamatch.is_some() { Self::DATAMATCH } else { 0 };
        put_u32(to, matched | if self.port { Self::PORT } else { 0 });
        put_u32(to, 0);
        put_u64(to, self.datamatch.unwrap_or(0));
    }
}
