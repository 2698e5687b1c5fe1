//! Region accesses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_device::ops::complete;
use vfio_uapi::Errno;

use super::connection::{Connection, ReplyTo};
use super::dispatch::Answer;
use super::late::{Owed, Pending};
use crate::message::{Command, HEADER_SIZE, MultiWrite, RegionAccess};
use crate::socket::Frame;

/// Sizes of regions, asked once a connection: they do not change while a device is open.
pub(super) struct RegionTable([AtomicU64; REMEMBERED]);

/// Regions that are remembered; the others are asked for at each access.
const REMEMBERED: usize = 64;
/// Not asked for yet; no region is as large.
const UNKNOWN: u64 = u64::MAX;

impl Default for RegionTable {
    fn default() -> Self {
        Self([const { AtomicU64::new(UNKNOWN) }; REMEMBERED])
    }
}

impl RegionTable {
    fn size(&self, index: u32, ask: impl FnOnce() -> Result<u64, Errno>) -> Result<u64, Errno> {
        let place = self.0.get(index as usize);
        match place.map_or(UNKNOWN, |place| place.load(Ordering::Relaxed)) {
            UNKNOWN => {
                let size = ask()?;
                if let Some(place) = place {
                    place.store(size, Ordering::Relaxed);
                }
                Ok(size)
            }
            known => Ok(known),
        }
    }
}

/// Bytes of an access that is answered without allocating.
const SMALL: usize = 64;
const HEAD: usize = HEADER_SIZE + RegionAccess::SIZE;

impl Connection {
    /// Answers a small access there and then, where the device does; false: it takes the long way, on which what is wrong
    /// with it is found as well.
    pub(super) fn access_now(&self, to: &ReplyTo, frame: &Frame) -> bool {
        let writes = frame.header.command == Command::RegionWrite as u16;
        if !(writes || frame.header.command == Command::RegionRead as u16) || !frame.fds.is_empty() {
            return false;
        }
        let Some((access, data)) = RegionAccess::read(&frame.body) else { return false };
        let RegionAccess { offset, region, count } = access;
        let count = count as usize;
        if count > SMALL || data.len() != if writes { count } else { 0 } || self.check(access).is_err() {
            return false;
        }
        let mut message = [0; HEAD + SMALL];
        let (head, into) = message.split_at_mut(HEAD);
        let answered = if writes {
            self.device.write_now(region, offset, data)
        } else {
            self.device.read_now(region, offset, &mut into[..count])
        };
        let Some(answered) = answered else { return false };
        head[HEADER_SIZE..].copy_from_slice(&access.bytes());
        match answered {
            Ok(done) if done == count => {
                self.reply_framed(to, &mut message[..if writes { HEAD } else { HEAD + count }]);
            }
            Ok(_) => self.refuse(to, Errno::EIO),
            Err(errno) => self.refuse(to, errno),
        }
        true
    }

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
                Ok(Answer::access(access, &data))
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
                Ok(Answer::access(access, &[]))
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
