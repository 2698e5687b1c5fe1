//! One request, which is answered once.

use std::sync::Arc;

use vfio_uapi::Errno;

use crate::abi::{IN_HEADER, OpenFlags};
use crate::attributes::Attributes;
use crate::channel::Channel;
use crate::decode::Message;
use crate::listing::{Listed, pack};
use crate::operation::Operation;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// **Thread** id, in the pid namespace of the mount; 0 for the kernel itself and for other namespaces.
    pub tid: u32,
}

/// The front of a request.
pub(crate) struct Header {
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) caller: Caller,
}

impl Header {
    /// Reads the header and gives the body; none: it is too short.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, body) = bytes.split_at_checked(IN_HEADER)?;
        let mut header = Message::new(header);
        let (length, opcode, unique, node) = (header.u32()?, header.u32()?, header.u64()?, header.u64()?);
        let caller = Caller { uid: header.u32()?, gid: header.u32()?, tid: header.u32()? };
        let extensions = usize::from(header.u16()?) * 8;
        let body = body.get(..(length as usize).checked_sub(IN_HEADER)?.checked_sub(extensions)?)?;
        Some((Self { opcode, unique, node, caller }, body))
    }
}

/// A request to a file system. It is answered by one of its `reply` methods, at once or later, on whatever thread; one that is
/// dropped is answered with `EIO`. Whether anybody still wants the answer does not matter.
#[derive(Debug)]
pub struct Request {
    unique: u64,
    node: u64,
    caller: Caller,
    operation: Operation,
    is_own: bool,
    answer: Answer,
}

/// What has to be answered.
struct Answer {
    channel: Arc<Channel>,
    unique: u64,
    answered: bool,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("unique", &self.unique).finish_non_exhaustive()
    }
}

impl Answer {
    fn send(mut self, error: i32, parts: [&[u8]; 2]) {
        self.answered = true;
        // ENOENT: the caller has gone. EINVAL and the like: the kernel takes no such answer, and still waits for one.
        if let Err(errno) = self.channel.answer(self.unique, error, parts)
            && !matches!(errno, Errno::ENOENT | Errno::ENOTCONN)
        {
            let _ = self.channel.answer(self.unique, -Errno::EIO.code(), [&[], &[]]);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.channel.answer(self.unique, -Errno::EIO.code(), [&[], &[]]);
        }
    }
}

impl Request {
    pub(crate) fn new(channel: Arc<Channel>, header: &Header, operation: Operation, is_own: bool) -> Self {
        let answer = Answer { channel, unique: header.unique, answered: false };
        Self { unique: header.unique, node: header.node, caller: header.caller, operation, is_own, answer }
    }

    /// Names the request, as [`interrupt`](crate::FileSystem::interrupt) does.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.unique
    }

    /// Returns the number of the node.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.node
    }

    /// Returns who asks.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Returns what is asked for.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Tells whether this is the session itself, which [announces](crate::Session::announce) a change: names that have
    /// appeared are to be unknown to its lookups and to be "made" by it, and those that have gone to be found and "removed".
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Moves the bytes of a write or an ioctl out.
    pub fn take_data(&mut self) -> Option<Vec<u8>> {
        match &mut self.operation {
            Operation::Write { data, .. } | Operation::Ioctl { data, .. } => Some(std::mem::take(data)),
            _ => None,
        }
    }

    /// Refuses.
    pub fn reply_error(self, errno: Errno) {
        self.answer.send(-errno.code(), [&[], &[]]);
    }

    /// Says that it is done, where there is nothing else to say.
    pub fn reply_done(self) {
        self.answer.send(0, [&[], &[]]);
    }

    /// Answers a lookup, and what makes nodes.
    pub fn reply_entry(self, attributes: &Attributes) {
        self.answer.send(0, [&attributes.entry(), &[]]);
    }

    /// Answers what asks for attributes.
    pub fn reply_attributes(self, attributes: &Attributes) {
        self.answer.send(0, [&attributes.answer(), &[]]);
    }

    /// Answers an open; `backing` is what [`open_backing`](crate::Session::open_backing) gave, for
    /// [`PASSTHROUGH`](OpenFlags::PASSTHROUGH).
    pub fn reply_opened(self, fh: u64, flags: OpenFlags, backing: i32) {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&fh.to_ne_bytes());
        out[8..12].copy_from_slice(&flags.bits().to_ne_bytes());
        out[12..].copy_from_slice(&backing.to_ne_bytes());
        self.answer.send(0, [&out, &[]]);
    }

    /// Answers a read, with no more than was asked for, or a readlink.
    pub fn reply_data(self, data: &[u8]) {
        let room = match self.operation {
            Operation::Read { size, .. } => size as usize,
            _ => usize::MAX,
        };
        self.answer.send(0, [&data[..data.len().min(room)], &[]]);
    }

    /// Answers a write: so many bytes were taken.
    pub fn reply_written(self, count: u32) {
        self.answer.send(0, [&count.to_ne_bytes(), &[0; 4]]);
    }

    /// Answers an ioctl: `result` is what it returns, or a negated errno; `data` goes out where the command says so.
    pub fn reply_ioctl(self, result: i32, data: &[u8]) {
        let room = match self.operation {
            Operation::Ioctl { out_size, .. } => out_size as usize,
            _ => 0,
        };
        let mut out = [0; 16];
        out[..4].copy_from_slice(&result.to_ne_bytes());
        self.answer.send(0, [&out, &data[..data.len().min(room)]]);
    }

    /// Answers a poll with what is ready.
    pub fn reply_poll(self, events: u32) {
        self.answer.send(0, [&events.to_ne_bytes(), &[0; 4]]);
    }

    /// Answers a readdir with all entries of the directory; what was asked for is cut out of them.
    pub fn reply_list(self, entries: &[Listed]) {
        let (offset, size) = match self.operation {
            Operation::Readdir { offset, size, .. } => (offset, size),
            _ => (0, 0),
        };
        self.answer.send(0, [&pack(entries, offset, size as usize), &[]]);
    }

    /// Answers a statfs: a file system without blocks whose names may be 255 bytes long.
    pub fn reply_statfs(self) {
        let mut out = [0; 80];
        for (at, number) in [(40, 4096_u32), (44, 255), (48, 4096)] {
            out[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        self.answer.send(0, [&out, &[]]);
    }
}
