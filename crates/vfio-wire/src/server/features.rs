//! Requests about device features, migration data and the log of written pages.

use parking_lot::Mutex;
use vfio_device::EventFd;
use vfio_device::ops::{FeatureAnswer, FeatureArgument, FeatureFlags, FeatureStep};
use vfio_iommu::IovaRange;
use vfio_uapi::Errno;
use vfio_uapi::vfio::feature::{
    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MASK,
    VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET,
};

use super::connection::Connection;
use super::dispatch::Answer;
use crate::guest_memory::bitmap_size;
use crate::message::{FeatureBody, Fields, MigrationData, put_u64};

/// Room for the data of a feature that the device has.
const MAX_DATA: usize = 64 << 10;
/// Head of the data that starts the log: page size, number of ranges, reserved.
const START_HEAD: usize = 16;
const LOGGED_RANGE: usize = 16;
/// Head of a report: address, length, page size.
const REPORT_HEAD: usize = 24;

impl Connection {
    /// Probes, reads or sets a feature. The log of written pages is the server's own; the device has the others.
    ///
    /// `EINVAL` short, unknown flags, get and set together; then as the feature.
    pub(super) fn device_feature(&self, body: &[u8]) -> Result<Answer, Errno> {
        const KNOWN: u32 = VFIO_DEVICE_FEATURE_MASK
            | VFIO_DEVICE_FEATURE_GET
            | VFIO_DEVICE_FEATURE_SET
            | VFIO_DEVICE_FEATURE_PROBE;
        const BOTH: u32 = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
        let (asked, data) = FeatureBody::read(body)
            .filter(|(asked, _)| asked.argsz >= FeatureBody::SIZE)
            .ok_or(Errno::EINVAL)?;
        let probe = asked.flags & VFIO_DEVICE_FEATURE_PROBE != 0;
        if asked.flags & !KNOWN != 0 || (!probe && asked.flags & BOTH == BOTH) {
            return Err(Errno::EINVAL);
        }
        let flags = FeatureFlags(asked.flags);
        let reply = match flags.number() {
            VFIO_DEVICE_FEATURE_DMA_LOGGING_START => self.logging_start(flags, data)?,
            VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP => {
                if flags.check(VFIO_DEVICE_FEATURE_SET, data.len(), 0)? == FeatureStep::Set {
                    self.memory.dirty.stop();
                }
                data.to_vec()
            }
            VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT => return self.logging_report(asked, data),
            _ => self.feature_of_device(asked, data)?,
        };
        Ok(feature_reply(asked.flags, reply))
    }

    fn feature_of_device(&self, asked: FeatureBody, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let room = (asked.argsz - FeatureBody::SIZE) as usize;
        let getting = asked.flags & VFIO_DEVICE_FEATURE_GET != 0;
        let len = if getting { room.min(MAX_DATA) } else { data.len() };
        let mut bytes = data.to_vec();
        // What a reader was not sent reads as zeros.
        bytes.resize(bytes.len().max(len), 0);
        let argument = Data { len, bytes: Mutex::new((bytes, 0)) };
        match self.device.device_feature(FeatureFlags(asked.flags), &argument)? {
            FeatureAnswer::Done => {}
            // No message carries such a descriptor.
            FeatureAnswer::DmaBuf(_) => return Err(Errno::EOPNOTSUPP),
        }
        let probe = asked.flags & VFIO_DEVICE_FEATURE_PROBE != 0;
        let (mut bytes, written) = argument.bytes.into_inner();
        bytes.truncate(if getting && !probe { written } else { data.len() });
        Ok(bytes)
    }

    /// `EINVAL` the data do not hold the ranges they count, or an empty one; `EOVERFLOW` a range that wraps; then as starting
    /// the log.
    fn logging_start(&self, flags: FeatureFlags, data: &[u8]) -> Result<Vec<u8>, Errno> {
        if flags.check(VFIO_DEVICE_FEATURE_SET, data.len(), START_HEAD)? == FeatureStep::Probed {
            return Ok(data.to_vec());
        }
        let mut fields = Fields::new(data);
        let (page_size, count) = (fields.u64().ok_or(Errno::EINVAL)?, fields.u32().ok_or(Errno::EINVAL)?);
        let ranges = data[START_HEAD..].chunks_exact(LOGGED_RANGE);
        if !ranges.remainder().is_empty() || ranges.len() != count as usize {
            return Err(Errno::EINVAL);
        }
        let ranges = ranges.map(|bytes| {
            let mut fields = Fields::new(bytes);
            range(fields.u64().unwrap_or(0), fields.u64().unwrap_or(0))
        });
        let page_size = self.memory.dirty.start(ranges.collect::<Result<_, _>>()?, page_size)?;
        let mut reply = Vec::with_capacity(data.len());
        put_u64(&mut reply, page_size);
        reply.extend_from_slice(&data[8..]);
        Ok(reply)
    }

    /// `EINVAL` short, an empty range, nothing is logged, senseless pages; `EOVERFLOW` the range wraps; `E2BIG` more than a
    /// message may carry. Where the client has no room for the bitmap it is told how much there should be.
    fn logging_report(&self, asked: FeatureBody, data: &[u8]) -> Result<Answer, Errno> {
        let flags = FeatureFlags(asked.flags);
        if flags.check(VFIO_DEVICE_FEATURE_GET, data.len(), REPORT_HEAD)? == FeatureStep::Probed {
            return Ok(feature_reply(asked.flags, data.to_vec()));
        }
        let mut fields = Fields::new(data);
        let mut field = || fields.u64().ok_or(Errno::EINVAL);
        let (iova, length, page_size) = (field()?, field()?, field()?);
        let range = range(iova, length)?;
        if page_size == 0 {
            return Err(Errno::EINVAL);
        }
        let size = bitmap_size(range, page_size);
        if size > self.max_transfer as usize {
            return Err(Errno::E2BIG);
        }
        let needed = FeatureBody::SIZE + (REPORT_HEAD + size) as u32;
        if asked.argsz < needed {
            let mut reply = Vec::new();
            FeatureBody { argsz: needed, flags: asked.flags }.write(&mut reply);
            return Ok(Answer::body(reply));
        }
        let bits = self.memory.dirty.harvest(range, page_size)?;
        Ok(feature_reply(asked.flags, [&data[..REPORT_HEAD], &bits[..]].concat()))
    }

    /// `EINVAL` short, more than a message may carry; as the device.
    pub(super) fn migration_read(&self, body: &[u8]) -> Result<Answer, Errno> {
        let mut fields = Fields::new(body);
        let asked = MigrationData::take(&mut fields).ok_or(Errno::EINVAL)?;
        let enough = asked.size.checked_add(MigrationData::SIZE).is_some_and(|size| size <= asked.argsz);
        if !enough || asked.size > self.max_transfer || !fields.rest().is_empty() {
            return Err(Errno::EINVAL);
        }
        let data = self.device.migration_read(asked.size as usize)?;
        if data.len() > asked.size as usize {
            return Err(Errno::EIO);
        }
        let size = data.len() as u32;
        let mut reply = Vec::with_capacity(MigrationData::SIZE as usize + data.len());
        MigrationData { argsz: MigrationData::SIZE + size, size }.write(&mut reply);
        reply.extend_from_slice(&data);
        Ok(Answer::body(reply))
    }

    /// `EINVAL` the data are not as long as said; as the device.
    pub(super) fn migration_write(&self, body: &[u8]) -> Result<Answer, Errno> {
        let mut fields = Fields::new(body);
        let asked = MigrationData::take(&mut fields).ok_or(Errno::EINVAL)?;
        let data = fields.rest();
        if data.len() != asked.size as usize {
            return Err(Errno::EINVAL);
        }
        self.device.migration_write(data)?;
        Ok(Answer::empty())
    }
}

fn range(iova: u64, length: u64) -> Result<IovaRange, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    IovaRange::sized(iova, length).ok_or(Errno::EOVERFLOW)
}

fn feature_reply(flags: u32, data: Vec<u8>) -> Answer {
    let mut reply = Vec::with_capacity(FeatureBody::SIZE as usize + data.len());
    FeatureBody { argsz: FeatureBody::SIZE + data.len() as u32, flags }.write(&mut reply);
    reply.extend_from_slice(&data);
    Answer::body(reply)
}

/// The data of a request: what came, and what is to go.
struct Data {
    len: usize,
    /// The bytes, and how many of them were written.
    bytes: Mutex<(Vec<u8>, usize)>,
}

impl FeatureArgument for Data {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Errno> {
        let (bytes, _) = &*self.bytes.lock();
        let end = offset.checked_add(into.len()).ok_or(Errno::EFAULT)?;
        into.copy_from_slice(bytes.get(offset..end).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        let (bytes, written) = &mut *self.bytes.lock();
        let end = offset.checked_add(from.len()).ok_or(Errno::EFAULT)?;
        bytes.get_mut(offset..end).ok_or(Errno::EFAULT)?.copy_from_slice(from);
        *written = end.max(*written);
        Ok(())
    }

    /// Nothing in the data is a descriptor: those would come beside the message.
    fn event_fd(&self, _fd: i32) -> Result<EventFd, Errno> {
        Err(Errno::EBADF)
    }
}
