//! What has arrived and was not taken yet: bytes, and the descriptors among them.
//!
//! One system call fetches whatever is there, so several messages may lie in the buffer. A descriptor arrives with the
//! last piece that its call returns and stands for the last message that starts in what the call returned: whoever
//! sends a message in one go, or its header first, has it there.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno as OsErrno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::{Frame, MAX_FDS, SocketError};
use crate::message::{HEADER_SIZE, Header};

/// Bytes fetched at once; longer messages are fetched piece by piece into memory of their own.
const CAPACITY: usize = 64 << 10;

/// Holds what has arrived.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    /// Where the next message starts.
    start: usize,
    /// Where what has arrived ends.
    end: usize,
    /// Descriptors, with the place at which their message starts.
    fds: Vec<(usize, Vec<OwnedFd>)>,
    /// A message too long for the buffer.
    long: Option<Long>,
    /// Memory for the next body.
    spare: Vec<u8>,
}

/// A message under way into memory of its own.
#[derive(Debug)]
struct Long {
    header: Header,
    body: Vec<u8>,
    got: usize,
    fds: Vec<OwnedFd>,
}

/// What a fetch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Something arrived.
    Some,
    /// Nothing is there, and waiting was not wanted; or a signal came first.
    Nothing,
    /// The peer will send no more.
    End,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; CAPACITY].into(),
            start: 0,
            end: 0,
            fds: Vec::new(),
            long: None,
            spare: Vec::new(),
        }
    }

    /// Tells whether a message has begun to arrive.
    pub(super) fn has_begun(&self) -> bool {
        self.long.is_some() || self.start != self.end
    }

    /// Takes memory for the next body, unless that of a large one.
    pub(super) fn reuse(&mut self, mut body: Vec<u8>) {
        if body.capacity() <= CAPACITY {
            body.clear();
            self.spare = body;
        }
    }

    /// Takes the next message, if it is there as a whole.
    pub(super) fn take(&mut self, max_size: u32) -> Result<Option<Frame>, SocketError> {
        if self.long.is_some() {
            return Ok(self.take_long());
        }
        let Some(head) = self.buffer[self.start..self.end].first_chunk::<HEADER_SIZE>() else {
            self.make_room(HEADER_SIZE);
            return Ok(None);
        };
        let header = Header::read(head).ok_or(SocketError::BadHeader)?;
        if header.size < HEADER_SIZE as u32 || header.size > max_size {
            return Err(SocketError::BadSize(header.size));
        }
        let size = header.size as usize;
        if size > CAPACITY {
            self.begin_long(header)?;
            return Ok(self.take_long());
        }
        if self.end - self.start < size {
            self.make_room(size);
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.spare);
        body.extend_from_slice(&self.buffer[self.start + HEADER_SIZE..self.start + size]);
        let fds = self.take_fds();
        self.start += size;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Ok(Some(Frame { header, body, fds }))
    }

    /// Fetches what is there; waits for it unless `flags` say otherwise.
    pub(super) fn fetch(
        &mut self,
        socket: impl AsFd,
        flags: RecvFlags,
        max_size: u32,
    ) -> Result<Fetched, SocketError> {
        let from = self.end;
        let into = match &mut self.long {
            Some(long) => &mut long.body[long.got..],
            None => &mut self.buffer[from..],
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let answer = match recvmsg(
            socket,
            &mut [IoSliceMut::new(into)],
            &mut ancillary,
            flags | RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(answer) => answer,
            Err(OsErrno::AGAIN | OsErrno::INTR) => return Ok(Fetched::Nothing),
            Err(OsErrno::CONNRESET) => return Ok(Fetched::End),
            Err(error) => return Err(SocketError::Os(error.raw_os_error())),
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if answer.flags.contains(ReturnFlags::CTRUNC) {
            return Err(SocketError::TooManyFds);
        }
        if answer.bytes == 0 {
            return Ok(Fetched::End);
        }
        match &mut self.long {
            Some(_) if !fds.is_empty() => return Err(SocketError::TooManyFds),
            Some(long) => long.got += answer.bytes,
            None => {
                self.end += answer.bytes;
                if !fds.is_empty() {
                    self.place_fds(from, fds, max_size)?;
                }
            }
        }
        Ok(Fetched::Some)
    }

    /// Gives descriptors to the last message that starts at `from` or later.
    fn place_fds(&mut self, from: usize, fds: Vec<OwnedFd>, max_size: u32) -> Result<(), SocketError> {
        let (mut at, mut last) = (self.start, self.start);
        while at < self.end {
            last = at;
            let head = self.buffer[at..self.end].first_chunk::<HEADER_SIZE>();
            match head.and_then(Header::read).map(|header| header.size) {
                Some(size) if (HEADER_SIZE as u32..=max_size).contains(&size) => at += size as usize,
                // Incomplete, or senseless, which whoever takes it will say.
                _ => break,
            }
        }
        if last < from || self.fds.iter().any(|(place, _)| *place == last) {
            return Err(SocketError::TooManyFds);
        }
        self.fds.push((last, fds));
        Ok(())
    }

    fn take_fds(&mut self) -> Vec<OwnedFd> {
        let start = self.start;
        let at = self.fds.iter().position(|(place, _)| *place == start);
        at.map_or_else(Vec::new, |at| self.fds.swap_remove(at).1)
    }

    /// Sees to it that a message of `size` bytes has room.
    fn make_room(&mut self, size: usize) {
        if self.start + size > CAPACITY {
            self.buffer.copy_within(self.start..self.end, 0);
            for (place, _) in &mut self.fds {
                *place -= self.start;
            }
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn begin_long(&mut self, header: Header) -> Result<(), SocketError> {
        let len = header.size as usize - HEADER_SIZE;
        let mut body = Vec::new();
        body.try_reserve_exact(len).map_err(|_| SocketError::Os(OsErrno::NOMEM.raw_os_error()))?;
        let here = &self.buffer[self.start + HEADER_SIZE..self.end];
        // The rest of the buffer is the message's, which does not fit in there.
        let got = here.len().min(len);
        body.extend_from_slice(&here[..got]);
        body.resize(len, 0);
        let fds = self.take_fds();
        (self.start, self.end) = (0, 0);
        self.long = Some(Long { header, body, got, fds });
        Ok(())
    }

    fn take_long(&mut self) -> Option<Frame> {
        let Long { header, body, fds, .. } = self.long.take_if(|long| long.got == long.body.len())?;
        Some(Frame { header, body, fds })
    }
}
