//! Requests about the client's memory.

use std::os::fd::OwnedFd;

use vfio_iommu::IovaRange;
use vfio_memory::{PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::connection::Connection;
use super::dispatch::Answer;
use crate::guest_memory::bitmap_size;
use crate::message::{DmaMap, DmaUnmap, Fields, put_u64};

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

    /// Lets memory go, with a bitmap of what was written where the client asks for one: its page size and the bytes it has
    /// room for stand behind the request, and before the bitmap in the reply.
    ///
    /// `EINVAL` short, unknown flags, an empty or wrapping range, a senseless bitmap; `EOPNOTSUPP` a bitmap where no
    /// writes are logged.
    pub(super) fn dma_unmap(&self, body: &[u8]) -> Result<Answer, Errno> {
        let unmap =
            DmaUnmap::read(body).filter(|unmap| unmap.argsz >= DmaUnmap::SIZE).ok_or(Errno::EINVAL)?;
        let range = match unmap.flags {
            0 | UNMAP_DIRTY_BITMAP => IovaRange::sized(unmap.iova, unmap.size).ok_or(Errno::EINVAL)?,
            UNMAP_ALL if unmap.iova == 0 && unmap.size == 0 => IovaRange::ALL,
            _ => return Err(Errno::EINVAL),
        };
        let bitmap = if unmap.flags == UNMAP_DIRTY_BITMAP { Some(self.bitmap(body, range)?) } else { None };
        self.device.dma_unmap(range);
        self.memory.unmap(range)?;
        let mut reply = Vec::with_capacity(DmaUnmap::SIZE as usize);
        DmaUnmap { argsz: DmaUnmap::SIZE, ..unmap }.write(&mut reply);
        if let Some((page_size, room)) = bitmap {
            put_u64(&mut reply, page_size);
            put_u64(&mut reply, room as u64);
            let mut bits = self.memory.dirty.harvest(range, page_size)?;
            bits.resize(room, 0);
            reply.extend_from_slice(&bits);
        }
        Ok(Answer::body(reply))
    }

    /// Page size and bytes of the bitmap that is asked for.
    fn bitmap(&self, body: &[u8], range: IovaRange) -> Result<(u64, usize), Errno> {
        if !self.memory.dirty.is_on() {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut fields = Fields::new(body.get(DmaUnmap::SIZE as usize..).ok_or(Errno::EINVAL)?);
        let (page_size, room) = (fields.u64().ok_or(Errno::EINVAL)?, fields.u64().ok_or(Errno::EINVAL)?);
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        let sensible = page_size.is_power_of_two()
            && page_size >= PAGE_SIZE
            && (bitmap_size(range, page_size)..=self.max_transfer as usize).contains(&room);
        if sensible { Ok((page_size, room)) } else { Err(Errno::EINVAL) }
    }
}
