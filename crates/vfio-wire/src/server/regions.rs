//! Region accesses.

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_device::ops::complete;
use vfio_uapi::Errno;

use super::connection::Connection;
use super::dispatch::Answer;
use super::late::{Owed, Pending};
use crate::message::{MultiWrite, RegionAccess};

/// Sizes of regions, asked once a connection: they do not change while a device is open.
#[derive(Default)]
pub(super) struct RegionTable(Mutex<Vec<Option<u64>>>);

/// Regions that are remembered; the others are asked for at each access.
const REMEMBERED: usize = 64;

impl RegionTable {
    fn size(&self, index: u32, ask: impl FnOnce() -> Result<u64, Errno>) -> Result<u64, Errno> {
        let place = index as usize;
        if let Some(Some(size)) = self.0.lock().get(place) {
            return Ok(*size);
        }
        let size = ask()?;
        if place < REMEMBERED {
            let mut known = self.0.lock();
            if known.len() <= place {
                known.resize(place + 1, None);
            }
            known[place] = Some(size);
        }
        Ok(size)
    }
}

impl Connection {
    /// `EINVAL` nothing to copy, more than a message may carry, or not inside the region.
    fn check(&self, access: RegionAccess) -> Result<(), Errno> {
        let RegionAccess { offset, region, count } = access;
        if count == 0 || count > self.max_transfer {
            return Err(Errno::EINVAL);
        }
        let size = self.regions.size(region, || Ok(self.device.region_info(region)?.size))?;
        let end = offset.checked_add(u64::from(count)).ok_or(Errno::EINVAL)?;
        if end > size { Err(Errno::EINVAL) } else { Ok(()) }
    }

    pub(super) fn region_read(self: &Arc<Self>, pending: Pending, body: &[u8]) {
        let access = match RegionAccess::read(body) {
            Some((access, [])) => access,
            _ => return pending.answer(Err(Errno::EINVAL)),
        };
        if let Err(errno) = self.check(access) {
            return pending.answer(Err(errno));
        }
        let RegionAccess { offset, region, count } = access;
        let watched = pending.watch();
        let done = complete(move |read: Result<Vec<u8>, Errno>| {
            pending.answer(read.and_then(|data| {
                if data.len() != count as usize {
                    return Err(Errno::EIO);
                }
                let mut body = Vec::with_capacity(RegionAccess::SIZE + data.len());
                access.write(&mut body);
                body.extend_from_slice(&data);
                Ok(Answer::body(body))
            }));
        });
        self.device.submit_read(region, offset, count as usize, done);
        self.late.add(watched, Owed::Data, &self.requests);
    }

    pub(super) fn region_write(self: &Arc<Self>, pending: Pending, body: &[u8]) {
        let Some((access, data)) = RegionAccess::read(body) else {
            return pending.answer(Err(Errno::EINVAL));
        };
        if data.len() != access.count as usize {
            return pending.answer(Err(Errno::EINVAL));
        }
        if let Err(errno) = self.check(access) {
            return pending.answer(Err(errno));
        }
        let watched = pending.watch();
        let done = complete(move |written: Result<usize, Errno>| {
            pending.answer(written.and_then(|count| {
                if count != access.count as usize {
                    return Err(Errno::EIO);
                }
                let mut body = Vec::with_capacity(RegionAccess::SIZE);
                access.write(&mut body);
                Ok(Answer::body(body))
            }));
        });
        self.device.submit_write(access.region, access.offset, data.to_vec(), done);
        self.late.add(watched, Owed::Write(access), &self.requests);
    }

    /// Writes one after the other; the reply counts those that were done.
    pub(super) fn region_write_multi(self: &Arc<Self>, pending: Pending, body: &[u8]) {
        let Some(writes) = MultiWrite::read_all(body) else {
            return pending.answer(Err(Errno::EINVAL));
        };
        if writes.iter().any(|write| write.access.count > 8 || self.check(write.access).is_err()) {
            return pending.answer(Err(Errno::EINVAL));
        }
        let (watched, count) = (pending.watch(), writes.len() as u64);
        self.write_next(pending, Arc::from(writes), 0);
        self.late.add(watched, Owed::Writes(count), &self.requests);
    }

    fn write_next(self: &Arc<Self>, pending: Pending, writes: Arc<[MultiWrite]>, at: usize) {
        let Some(MultiWrite { access, data }) = writes.get(at).copied() else {
            return pending.answer(Ok(Answer::body((writes.len() as u64).to_ne_bytes().to_vec())));
        };
        let connection = self.clone();
        let done = complete(move |written: Result<usize, Errno>| match written {
            Ok(_) => connection.write_next(pending, writes, at + 1),
            Err(errno) => pending.answer(Err(errno)),
        });
        let data = data[..access.count as usize].to_vec();
        self.device.submit_write(access.region, access.offset, data, done);
    }
}
