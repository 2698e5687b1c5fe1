//! What is asked of a file system, out of the bytes of a request.

use crate::abi::{AttributeMask, GETATTR_FH, READ_LOCK_OWNER, opcode};
use crate::decode::Message;

/// What a request asks for. `fh` is what opening the file answered; names are bytes without `/` or NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the system calls' arguments")]
pub enum Operation {
    /// Finds a name in a directory; answered with the node.
    Lookup { name: Vec<u8> },
    /// Asks for attributes, of an open file where `fh` is there.
    Getattr { fh: Option<u64> },
    /// Sets attributes and asks for all.
    Setattr(SetAttributes),
    /// Asks where a link leads.
    Readlink,
    /// Makes a link.
    Symlink { name: Vec<u8>, target: Vec<u8> },
    /// Makes a file that is no directory.
    Mknod { name: Vec<u8>, mode: u32, rdev: u32 },
    /// Makes a directory.
    Mkdir { name: Vec<u8>, mode: u32 },
    /// Takes a file away.
    Unlink { name: Vec<u8> },
    /// Takes a directory away.
    Rmdir { name: Vec<u8> },
    /// Renames; `flags` are those of `renameat2`.
    Rename { name: Vec<u8>, new_parent: u64, new_name: Vec<u8>, flags: u32 },
    /// Makes a second name for a node.
    Link { name: Vec<u8>, existing: u64 },
    /// Opens a file; `flags` are those of `open`, without `O_CREAT`.
    Open { flags: u32 },
    /// Makes a file and opens it.
    Create { name: Vec<u8>, flags: u32, mode: u32 },
    /// Reads, or fills a page of a mapping (`page`).
    Read { fh: u64, offset: u64, size: u32, flags: u32, page: bool },
    /// Writes.
    Write { fh: u64, offset: u64, data: Vec<u8>, flags: u32 },
    /// Asks for the state of the whole file system.
    Statfs,
    /// The last user of an open file has gone.
    Release { fh: u64, flags: u32 },
    /// Syncs a file.
    Fsync { fh: u64 },
    /// A descriptor of an open file was closed.
    Flush { fh: u64, lock_owner: u64 },
    /// Opens a directory.
    Opendir { flags: u32 },
    /// Lists a directory from `offset` on.
    Readdir { fh: u64, offset: u64, size: u32 },
    /// The last user of an open directory has gone.
    Releasedir { fh: u64 },
    /// Asks what the caller may do; `mask` is that of `access`.
    Access { mask: u32 },
    /// An ioctl: `cmd` and `arg` as they were passed. For commands that say how much data goes in and out, that data has
    /// been fetched (`data`) and may be answered (`out_size` bytes at most).
    Ioctl { fh: u64, flags: u32, cmd: u32, arg: u64, data: Vec<u8>, out_size: u32 },
    /// Asks for readiness; `kh` names the waiter where one wants to be told.
    Poll { fh: u64, kh: u64, flags: u32, events: u32 },
    /// Anything else.
    Other { opcode: u32 },
}

/// Attributes that are to be set: those in `valid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are those of the attributes")]
pub struct SetAttributes {
    pub valid: AttributeMask,
    pub fh: u64,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Operation {
    /// Reads the part of a request behind its header; none: it is no such request.
    pub(crate) fn decode(code: u32, body: &[u8]) -> Option<Self> {
        let mut body = Message::new(body);
        Some(match code {
            opcode::LOOKUP => Self::Lookup { name: body.name()? },
            opcode::GETATTR => {
                let (flags, _, fh) = (body.u32()?, body.u32()?, body.u64()?);
                Self::Getattr { fh: (flags & GETATTR_FH != 0).then_some(fh) }
            }
            opcode::SETATTR => Self::Setattr(SetAttributes::decode(&mut body)?),
            opcode::READLINK => Self::Readlink,
            opcode::SYMLINK => Self::Symlink { name: body.name()?, target: body.name()? },
            opcode::MKNOD => {
                let (mode, rdev) = (body.u32()?, body.u32()?);
                body.skip(8)?;
                Self::Mknod { name: body.name()?, mode, rdev }
            }
            opcode::MKDIR => {
                let (mode, _umask) = (body.u32()?, body.u32()?);
                Self::Mkdir { name: body.name()?, mode }
            }
            opcode::UNLINK => Self::Unlink { name: body.name()? },
            opcode::RMDIR => Self::Rmdir { name: body.name()? },
            opcode::RENAME => {
                let new_parent = body.u64()?;
                Self::Rename { name: body.name()?, new_parent, new_name: body.name()?, flags: 0 }
            }
            opcode::RENAME2 => {
                let (new_parent, flags, _) = (body.u64()?, body.u32()?, body.u32()?);
                Self::Rename { name: body.name()?, new_parent, new_name: body.name()?, flags }
            }
            opcode::LINK => {
                let existing = body.u64()?;
                Self::Link { name: body.name()?, existing }
            }
            opcode::OPEN => Self::Open { flags: body.u32()? },
            opcode::CREATE => {
                let (flags, mode) = (body.u32()?, body.u32()?);
                body.skip(8)?;
                Self::Create { name: body.name()?, flags, mode }
            }
            opcode::READ => {
                let (fh, offset, size, read_flags) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
                let (_lock_owner, flags) = (body.u64()?, body.u32()?);
                Self::Read { fh, offset, size, flags, page: read_flags & READ_LOCK_OWNER == 0 }
            }
            opcode::WRITE => {
                let (fh, offset, size, _write_flags) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
                let (_lock_owner, flags, _) = (body.u64()?, body.u32()?, body.u32()?);
                Self::Write { fh, offset, data: body.bytes(size as usize)?.to_vec(), flags }
            }
            opcode::STATFS => Self::Statfs,
            opcode::RELEASE => Self::Release { fh: body.u64()?, flags: body.u32()? },
            opcode::FSYNC | opcode::FSYNCDIR => Self::Fsync { fh: body.u64()? },
            opcode::FLUSH => {
                let fh = body.u64()?;
                body.skip(8)?;
                Self::Flush { fh, lock_owner: body.u64()? }
            }
            opcode::OPENDIR => Self::Opendir { flags: body.u32()? },
            opcode::READDIR => Self::Readdir { fh: body.u64()?, offset: body.u64()?, size: body.u32()? },
            opcode::RELEASEDIR => Self::Releasedir { fh: body.u64()? },
            opcode::ACCESS => Self::Access { mask: body.u32()? },
            opcode::IOCTL => {
                let (fh, flags, cmd, arg) = (body.u64()?, body.u32()?, body.u32()?, body.u64()?);
                let (in_size, out_size) = (body.u32()?, body.u32()?);
                Self::Ioctl { fh, flags, cmd, arg, data: body.bytes(in_size as usize)?.to_vec(), out_size }
            }
            opcode::POLL => {
                let (fh, kh, flags, events) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
                Self::Poll { fh, kh, flags, events }
            }
            opcode => Self::Other { opcode },
        })
    }
}

impl SetAttributes {
    fn decode(body: &mut Message<'_>) -> Option<Self> {
        let (valid, _, fh, size) = (body.u32()?, body.u32()?, body.u64()?, body.u64()?);
        body.skip(8 + 3 * 8 + 3 * 4)?; // lock owner, times
        let (mode, _, uid, gid) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        Some(Self { valid: AttributeMask::from_bits_retain(valid), fh, size, mode, uid, gid })
    }
}
