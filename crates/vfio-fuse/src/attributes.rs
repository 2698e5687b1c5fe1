//! What a node is, as the kernel wants to be told.

/// Attributes of a node. The kernel keeps nothing of it: each use asks anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Number of the node; 1 is the root.
    pub node: u64,
    /// File type and permission bits.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Names that lead to it.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, of a device.
    pub rdev: u32,
    /// Seconds since 1970 at which it changed.
    pub mtime: u64,
}

/// Bytes of `struct fuse_attr`.
const SIZE: usize = 88;
/// As `st_blksize` of sysfs.
const BLOCK: u32 = 4096;

impl Attributes {
    /// The node as the answer of a lookup (`struct fuse_entry_out`).
    pub(crate) fn entry(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + SIZE);
        for number in [self.node, 0, 0, 0, 0] {
            out.extend(number.to_ne_bytes()); // node, generation, validity of both
        }
        self.put(&mut out);
        out
    }

    /// The attributes alone (`struct fuse_attr_out`).
    pub(crate) fn answer(&self) -> Vec<u8> {
        let mut out = vec![0; 16]; // validity
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        let blocks = self.size.div_ceil(512);
        for number in [self.node, self.size, blocks, self.mtime, self.mtime, self.mtime] {
            out.extend(number.to_ne_bytes());
        }
        for number in [0, 0, 0, self.mode, self.links, self.uid, self.gid, self.rdev, BLOCK, 0] {
            out.extend(u32::to_ne_bytes(number));
        }
    }
}
