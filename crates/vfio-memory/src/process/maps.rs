//! Lines of `/proc/PID/maps`.

use crate::Prot;

/// A device number as the list writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device(u32, u32);

impl Device {
    pub(super) fn new(major: u32, minor: u32) -> Self {
        Self(major, minor)
    }

    pub(super) fn of(number: u64) -> Self {
        Self(rustix::fs::major(number), rustix::fs::minor(number))
    }
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) prot: Prot,
    pub(super) shared: bool,
    /// Offset in the file.
    pub(super) offset: u64,
    pub(super) device: Device,
    pub(super) inode: u64,
}

impl Area {
    /// Reads a line such as `7f00-7f10 rw-s 00001000 00:01 42   /memfd:ram (deleted)`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let mut parts = line.split_ascii_whitespace();
        let (start, end) = parts.next()?.split_once('-')?;
        let rights = parts.next()?.as_bytes();
        let offset = hex(parts.next()?)?;
        let (major, minor) = parts.next()?.split_once(':')?;
        let mut prot = Prot::empty();
        prot.set(Prot::READ, rights.first() == Some(&b'r'));
        prot.set(Prot::WRITE, rights.get(1) == Some(&b'w'));
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            prot,
            shared: rights.get(3) == Some(&b's'),
            offset,
            device: Device(u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?),
            inode: parts.next()?.parse().ok()?,
        })
    }
}
