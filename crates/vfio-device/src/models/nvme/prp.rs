//! Physical region pages: how a command says where its data lies.

use super::access::{Access, Segment};
use super::status::{Failure, Status};

const ENTRY_SIZE: u64 = 8;

/// Finds the memory that the data of a command lies in, `len` bytes of it.
///
/// The first entry may begin inside a page. What is left after that page lies behind the second entry if it fits
/// one page, or else behind a list that the second entry leads to, whose last entry in a page leads on to the next
/// page of the list when there is more.
///
/// # Errors
/// An entry that begins inside a page where it may not; a list that memory refuses.
pub(super) fn segments(access: &Access, prp: [u64; 2], len: u64, page: u64) -> Result<Vec<Segment>, Failure> {
    let [first, second] = prp;
    let mut found = Layout { segments: Vec::new(), left: len };
    if !first.is_multiple_of(4) {
        return Err(Status::INVALID_PRP_OFFSET.into());
    }
    found.add(first, page - first % page);
    if found.left == 0 {
        return Ok(found.segments);
    }
    if found.left <= page {
        found.add_page(second, page)?;
        return Ok(found.segments);
    }
    if !second.is_multiple_of(ENTRY_SIZE) {
        return Err(Status::INVALID_PRP_OFFSET.into());
    }
    let mut list = second;
    loop {
        // Every page of the list but the first is whole, so each turn of this loop finds many pages of data.
        let room = (page - list % page) / ENTRY_SIZE;
        let needed = found.left.div_ceil(page);
        let mut bytes = vec![0; (room.min(needed) * ENTRY_SIZE) as usize];
        access.read(list, &mut bytes)?;
        let mut entries = bytes.chunks_exact(ENTRY_SIZE as usize).map(entry);
        let data = if needed > room { room - 1 } else { needed };
        for entry in entries.by_ref().take(data as usize) {
            found.add_page(entry, page)?;
        }
        match entries.next() {
            Some(next) if next.is_multiple_of(page) => list = next,
            Some(_) => return Err(Status::INVALID_PRP_OFFSET.into()),
            None => return Ok(found.segments),
        }
    }
}

struct Layout {
    segments: Vec<Segment>,
    left: u64,
}

impl Layout {
    fn add_page(&mut self, iova: u64, page: u64) -> Result<(), Failure> {
        if !iova.is_multiple_of(page) {
            return Err(Status::INVALID_PRP_OFFSET.into());
        }
        self.add(iova, page);
        Ok(())
    }

    fn add(&mut self, iova: u64, room: u64) {
        let len = room.min(self.left);
        self.left -= len;
        match self.segments.last_mut() {
            Some(last) if last.iova.checked_add(last.len) == Some(iova) => last.len += len,
            _ => self.segments.push(Segment { iova, len }),
        }
    }
}

fn entry(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide.copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}
