//! Bodies about device features and migration.

use super::{Fields, put_u32};

/// Head of `VFIO_USER_DEVICE_FEATURE`; data follows where the feature has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureBody {
    /// Size of head and data that the sender has room for, or sends.
    pub argsz: u32,
    /// `VFIO_DEVICE_FEATURE_*`: the feature's number and what to do with it.
    pub flags: u32,
}

impl FeatureBody {
    /// Size of the head.
    pub const SIZE: u32 = 8;

    /// Reads the head and gives what follows it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let mut f = Fields::new(body);
        Some((Self { argsz: f.u32()?, flags: f.u32()? }, f.rest()))
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u32(to, self.argsz);
        put_u32(to, self.flags);
    }
}

/// Head of `VFIO_USER_MIG_DATA_READ` and `VFIO_USER_MIG_DATA_WRITE`; the data follows in the write and in the read's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationData {
    /// Size of head and data that the sender has room for, or sends.
    pub argsz: u32,
    /// Bytes of data.
    pub size: u32,
}

impl MigrationData {
    /// Size of the head.
    pub const SIZE: u32 = 8;

    /// Takes the head from the front of a body.
    pub fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { argsz: fields.u32()?, size: fields.u32()? })
    }

    /// Appends the head.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u32(to, self.argsz);
        put_u32(to, self.size);
    }
}
