//! Lists of segments: addresses are looked up some segments ahead of the copy.
//!
//! A processor overlaps what it finds in its window of a few hundred instructions. Looking a segment up and copying it
//! fills that window with a handful of segments, so most of the time is spent waiting for memory. Here each segment is
//! looked up, and its first bytes are asked for, while one that was asked for long before is copied.

// UNSAFETY: as in the parent.
#![expect(unsafe_code, reason = "copies from and to mapped memory")]

use std::mem;
use std::ptr;

use vfio_memory::copy;

use super::Reader;
use crate::page_table::entry::Need;
use crate::{DmaFault, Iova};

/// How many segments the look-up is ahead: twice the lines that a core has on their way at a time. With half as many,
/// or twice as many, it is slower.
const AHEAD: usize = 32;

impl Reader<'_> {
    /// Reads segments, each an address and a length, into consecutive parts of `into`, whose end is the end.
    ///
    /// # Errors
    /// As for [`read`](Self::read) of the first segment that is refused; those before it were read.
    pub fn read_batch(&self, segments: &[[u64; 2]], mut into: &mut [u8]) -> Result<(), DmaFault> {
        self.each(segments, Need::READ, |iova, len, host| {
            let len = cut(len, into.len());
            let (piece, rest) = mem::take(&mut into).split_at_mut(len);
            into = rest;
            if host.is_null() {
                return self.read_far(iova, piece);
            }
            // SAFETY: the leaf vouches for the host range while this epoch lasts; `piece` is exclusive.
            unsafe { copy::read_fetched(host, piece.as_mut_ptr(), len) };
            Ok(())
        })
    }

    /// Writes consecutive parts of `from` to segments, each an address and a length, up to the end of `from`.
    ///
    /// # Errors
    /// As for [`write`](Self::write) of the first segment that is refused; those before it were written.
    pub fn write_batch(&self, segments: &[[u64; 2]], mut from: &[u8]) -> Result<(), DmaFault> {
        self.each(segments, Need::WRITE, |iova, len, host| {
            let len = cut(len, from.len());
            let (piece, rest) = from.split_at(len);
            from = rest;
            if host.is_null() {
                return self.write_far(iova, piece);
            }
            // SAFETY: the leaf vouches for the host range while this epoch lasts.
            unsafe { copy::write_fetched(host, piece.as_ptr(), len) };
            Ok(())
        })
    }

    /// Hands out segments in order, with the host addresses of those that lie in one leaf of host memory, null for others.
    #[inline(always)]
    fn each(
        &self,
        segments: &[[u64; 2]],
        need: Need,
        mut visit: impl FnMut(Iova, u64, *mut u8) -> Result<(), DmaFault>,
    ) -> Result<(), DmaFault> {
        let look_up = |segment: &[u64; 2]| self.fetch(segment[0], segment[1], need);
        let mut hosts = [ptr::null_mut(); AHEAD];
        for (host, segment) in hosts.iter_mut().zip(segments) {
            *host = look_up(segment);
        }
        let later = segments.get(AHEAD..).unwrap_or(&[]);
        for (at, ([iova, len], next)) in segments.iter().zip(later).enumerate() {
            let host = mem::replace(&mut hosts[at % AHEAD], look_up(next));
            visit(*iova, *len, host)?;
        }
        for (at, [iova, len]) in segments.iter().enumerate().skip(later.len()) {
            visit(*iova, *len, hosts[at % AHEAD])?;
        }
        Ok(())
    }

    /// Finds a segment that lies in one leaf of host memory, and has its first bytes fetched.
    #[inline(always)]
    fn fetch(&self, iova: Iova, len: u64, need: Need) -> *mut u8 {
        match self.cursor.near(iova, need) {
            Some(direct) if len.wrapping_sub(1) <= direct.extent => {
                copy::prefetch(direct.ptr());
                direct.ptr()
            }
            _ => ptr::null_mut(),
        }
    }
}

#[inline(always)]
fn cut(len: u64, room: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(room)
}
