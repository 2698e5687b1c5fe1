//! Numbers of the FUSE protocol (`linux/fuse.h`, version 7.40): operations, flags, sizes.

/// Major version of the protocol.
pub(crate) const MAJOR: u32 = 7;
/// Minor version that is spoken; the kernel speaks the lower of both.
pub(crate) const MINOR: u32 = 40;
/// The oldest minor version whose structures are those below.
pub(crate) const OLDEST_MINOR: u32 = 23;

/// Bytes of `struct fuse_in_header`.
pub(crate) const IN_HEADER: usize = 40;
/// Bytes of `struct fuse_out_header`.
pub(crate) const OUT_HEADER: usize = 16;
/// Bytes that one write carries at most.
pub(crate) const MAX_WRITE: usize = 1 << 20;

/// What a request asks for (`enum fuse_opcode`).
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const ACCESS: u32 = 34;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const POLL: u32 = 40;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const RENAME2: u32 = 45;
}

/// What the kernel is told unasked (`enum fuse_notify_code`).
pub(crate) mod notice {
    pub(crate) const POLL: i32 = 1;
    pub(crate) const INVALIDATE_NODE: i32 = 2;
    pub(crate) const INVALIDATE_ENTRY: i32 = 3;
    pub(crate) const DELETE: i32 = 6;
}

/// What is agreed on at the start (`FUSE_INIT`); from bit 32 on in the second word.
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u64 = 1;
    pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    pub(crate) const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    pub(crate) const PASSTHROUGH: u64 = 1 << 37;
}

/// `FUSE_READ_LOCKOWNER`: a process reads; without it the kernel fills its cache.
pub(crate) const READ_LOCK_OWNER: u32 = 2;

/// `FUSE_GETATTR_FH`: the request names an open file.
pub(crate) const GETATTR_FH: u32 = 1;

bitflags::bitflags! {
    /// How an opened file behaves (`FOPEN_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct OpenFlags: u32 {
        /// Every read and write reaches the file system.
        const DIRECT_IO = 1;
        /// What the kernel has cached stays valid.
        const KEEP_CACHE = 2;
        /// No offsets.
        const NONSEEKABLE = 4;
        /// As a pipe: no offsets, no position.
        const STREAM = 16;
        /// Closing is not told.
        const NOFLUSH = 32;
        /// Several writers at once.
        const PARALLEL_DIRECT_WRITES = 64;
        /// The backing file stands behind it: with direct I/O behind mappings only.
        const PASSTHROUGH = 128;
    }

    /// Which attributes are to be set (`FATTR_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct AttributeMask: u32 {
        /// Permission bits.
        const MODE = 1;
        /// Owner.
        const UID = 2;
        /// Group.
        const GID = 4;
        /// Length.
        const SIZE = 8;
        /// Time of the last access.
        const ATIME = 16;
        /// Time of the last change.
        const MTIME = 32;
        /// The request names an open file.
        const FH = 64;
        /// Whatever else the kernel says.
        const _ = !0;
    }
}
