//! Commands by number.

/// Names a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Command {
    /// Negotiates version and capabilities; the first message of a connection.
    Version = 1,
    /// Tells the server of memory.
    DmaMap = 2,
    /// Takes memory away.
    DmaUnmap = 3,
    /// Describes the device.
    DeviceGetInfo = 4,
    /// Describes a region.
    DeviceGetRegionInfo = 5,
    /// Gives descriptors by which parts of a region can be reached without messages.
    DeviceGetRegionIoFds = 6,
    /// Describes an interrupt index.
    DeviceGetIrqInfo = 7,
    /// Sets up, triggers, masks or unmasks interrupts.
    DeviceSetIrqs = 8,
    /// Reads a region.
    RegionRead = 9,
    /// Writes a region.
    RegionWrite = 10,
    /// Reads the client's memory (from the server).
    DmaRead = 11,
    /// Writes the client's memory (from the server).
    DmaWrite = 12,
    /// Resets the device.
    DeviceReset = 13,
    /// Reports dirty pages (reserved by the specification).
    DirtyPages = 14,
    /// Writes several registers at once.
    RegionWriteMulti = 15,
    /// Probes, reads or sets a device feature.
    DeviceFeature = 16,
    /// Reads migration data.
    MigDataRead = 17,
    /// Writes migration data.
    MigDataWrite = 18,
}

impl Command {
    /// Returns the command with that number.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Version,
            2 => Self::DmaMap,
            3 => Self::DmaUnmap,
            4 => Self::DeviceGetInfo,
            5 => Self::DeviceGetRegionInfo,
            6 => Self::DeviceGetRegionIoFds,
            7 => Self::DeviceGetIrqInfo,
            8 => Self::DeviceSetIrqs,
            9 => Self::RegionRead,
            10 => Self::RegionWrite,
            11 => Self::DmaRead,
            12 => Self::DmaWrite,
            13 => Self::DeviceReset,
            14 => Self::DirtyPages,
            15 => Self::RegionWriteMulti,
            16 => Self::DeviceFeature,
            17 => Self::MigDataRead,
            18 => Self::MigDataWrite,
            _ => return None,
        })
    }
}
