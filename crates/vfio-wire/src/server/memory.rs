//! Requests about the client's memory.

use std::os::fd::OwnedFd;

use vfio_iommu::IovaRange;
use vfio_memory::Prot;
use vfio_uapi::Errno;

use super::connection::Connection;
use super::dispatch::Answer;
use crate::message::{DmaMap, DmaUnmap};

const MAP_READ: u32 = 1;
const MAP_WRITE: u32 = 2;
const UNMAP_DIRTY_BITMAP: u32 = 1;
const UNMAP_ALL: u32 = 2;

impl Connection {
    /// `EINVAL` short, unknown flags, no access, more than one descriptor; what mapping it is refused with.
    pub(super) fn dma_map(&self, body: &[u8], mut fds: Vec<OwnedFd>) -> Result<Answer, Errno> {
        let map = DmaMap::read(body).filter(|map| map.argsz >= DmaMap::SIZE).ok_or(Errno::EINVAL)?;
        if map.flags & !(MAP_READ | MAP_WRITE) != 0 || map.flags == 0 || fds.len() > 1 {
            return Err(Errno::EINVAL);
        }
        let mut prot = Prot::empty();
        prot.set(Prot::READ, map.flags & MAP_READ != 0);
        prot.set(Prot::WRITE, map.flags & MAP_WRITE != 0);
        let source = fds.pop().map(|fd| (fd, map.offset));
        self.memory.map(map.iova, map.size, prot, source)?;
        Ok(Answer::empty())
    }

    /// `EINVAL` short, unknown flags, an empty or wrapping range; `EOPNOTSUPP` a dirty bitmap.
    pub(super) fn dma_unmap(&self, body: &[u8]) -> Result<Answer, Errno> {
        let unmap =
            DmaUnmap::read(body).filter(|unmap| unmap.argsz >= DmaUnmap::SIZE).ok_or(Errno::EINVAL)?;
        let range = match unmap.flags {
            0 => IovaRange::sized(unmap.iova, unmap.size).ok_or(Errno::EINVAL)?,
            UNMAP_ALL if unmap.iova == 0 && unmap.size == 0 => IovaRange::ALL,
            flags if flags & UNMAP_DIRTY_BITMAP != 0 => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        };
        self.device.dma_unmap(range);
        self.memory.unmap(range)?;
        let mut reply = Vec::with_capacity(DmaUnmap::SIZE as usize);
        DmaUnmap { argsz: DmaUnmap::SIZE, ..unmap }.write(&mut reply);
        Ok(Answer::body(reply))
    }
}
