//! Entries of a directory, packed for the kernel.

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name.
    pub name: Vec<u8>,
    /// Number of the node.
    pub node: u64,
    /// File type as in its mode.
    pub mode: u32,
}

/// Bytes of `struct fuse_dirent` before the name.
const HEADER: usize = 24;

/// Packs the entries from number `offset` on, as many as fit into `room`.
pub(crate) fn pack(entries: &[Listed], offset: u64, room: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let first = usize::try_from(offset).unwrap_or(usize::MAX);
    for (at, entry) in entries.iter().enumerate().skip(first) {
        let Ok(length) = u32::try_from(entry.name.len()) else { continue };
        let size = (HEADER + entry.name.len()).next_multiple_of(8);
        if out.len() + size > room {
            break;
        }
        let end = out.len() + size;
        out.extend(entry.node.to_ne_bytes());
        out.extend((at as u64 + 1).to_ne_bytes());
        out.extend(length.to_ne_bytes());
        out.extend((entry.mode >> 12).to_ne_bytes());
        out.extend(&entry.name);
        out.resize(end, 0);
    }
    out
}
