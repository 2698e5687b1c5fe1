//! What a remote device says of itself, asked once when the connection is made.

use vfio_device::ops::{DeviceInfo, IrqInfo, RegionMapping};
use vfio_device::pci::Doorbell;
use vfio_uapi::Errno;
use vfio_uapi::vfio::feature::{
    VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION,
    VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET,
};
use vfio_wire::client::ask;
use vfio_wire::client::{RemoteDevice, RemoteRegion};

/// Regions and interrupt indexes that are asked about; a device that has more is asked when they are used.
const MOST: u32 = 32;

/// Says what a device has.
pub(super) struct Description {
    pub(super) info: DeviceInfo,
    /// `VFIO_MIGRATION_*`, where the device migrates.
    pub(super) migration: Option<u64>,
    /// The server logs the pages that the device writes.
    pub(super) logging: bool,
    regions: Vec<(Result<RemoteRegion, Errno>, Vec<Doorbell>)>,
    irqs: Vec<Result<IrqInfo, Errno>>,
}

impl Description {
    /// Asks the server. What it refuses is part of the answer.
    ///
    /// # Errors
    /// `ENOTCONN`, `ETIMEDOUT`, `EPROTO`, and what it refuses the first question with.
    pub(super) fn ask(device: &RemoteDevice) -> Result<Self, Errno> {
        let info = device.call(ask::info())?;
        let knows_more = device.minor() > 0;
        let mut regions = Vec::new();
        for index in 0..info.num_regions.min(MOST) {
            let region = kept(device.query_region(index))?;
            let asked = knows_more && region.as_ref().is_ok_and(|region| region.info.size > 0);
            let doorbells = if asked { kept(device.call(ask::doorbells(index)))? } else { Ok(Vec::new()) };
            regions.push((region, doorbells.unwrap_or_default()));
        }
        let (mut migration, mut logging) = (None, false);
        if knows_more {
            let get_migration = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
            let flags = kept(device.call(ask::feature(get_migration, &[], 8)))?.unwrap_or_default();
            migration = flags.as_slice().try_into().ok().map(u64::from_le_bytes);
            let probe_logging =
                VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
            logging = kept(device.call(ask::feature(probe_logging, &[], 0)))?.is_ok();
        }
        let irqs = (0..info.num_irqs.min(MOST)).map(|index| kept(device.call(ask::irq_info(index))));
        Ok(Self { irqs: irqs.collect::<Result<_, Errno>>()?, info, migration, logging, regions })
    }

    /// Describes a region, if it was asked about.
    pub(super) fn region(&self, index: u32) -> Option<Result<&RemoteRegion, Errno>> {
        Some(self.regions.get(index as usize)?.0.as_ref().map_err(|errno| *errno))
    }

    /// Lists the doorbells of a region.
    pub(super) fn doorbells(&self, index: u32) -> &[Doorbell] {
        self.regions.get(index as usize).map_or(&[], |(_, doorbells)| doorbells)
    }

    /// Describes an interrupt index, if it was asked about.
    pub(super) fn irq(&self, index: u32) -> Option<Result<IrqInfo, Errno>> {
        self.irqs.get(index as usize).copied()
    }

    /// Maps a part of a region. `EINVAL` it is not memory that the server gave a descriptor for.
    pub(super) fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        let region = self.region(region).ok_or(Errno::EINVAL)??;
        let found =
            region.memory.iter().find_map(|area| Some((area.find(offset, len)?, area.memory.clone())));
        let (offset, memory) = found.filter(|_| len != 0).ok_or(Errno::EINVAL)?;
        Ok(RegionMapping::Memory { memory, offset, len })
    }
}

/// Keeps what the device refuses, and gives up where the server fails.
fn kept<T>(answer: Result<T, Errno>) -> Result<Result<T, Errno>, Errno> {
    match answer {
        Err(errno @ (Errno::ENOTCONN | Errno::ETIMEDOUT | Errno::EPROTO)) => Err(errno),
        answer => Ok(answer),
    }
}
