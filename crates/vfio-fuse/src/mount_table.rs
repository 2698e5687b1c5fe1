//! Which mounts there are (`/proc/self/mountinfo`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Number of the mount that lies uppermost at a directory.
pub(crate) fn uppermost(directory: &Path) -> Option<u64> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    mounts(&table).filter(|(_, at)| at == directory).last().map(|(id, _)| id)
}

/// Tells whether a mount is there still, at that directory.
pub(crate) fn is_mounted(id: u64, directory: &Path) -> bool {
    fs::read("/proc/self/mountinfo")
        .is_ok_and(|table| mounts(&table).any(|mount| mount == (id, directory.into())))
}

/// Numbers and places of the mounts, in the order in which they were made at each place.
fn mounts(table: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> + '_ {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        Some((id, unescape(words.nth(3)?)))
    })
}

/// Undoes the kernel's `\040`.
fn unescape(word: &[u8]) -> PathBuf {
    let (mut out, mut rest) = (Vec::new(), word);
    while let Some((&first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_read_as_the_kernel_writes_it() {
        let table = b"21 1 0:20 / /proc rw - proc proc rw\n99 21 0:44 / /tmp/a\\040b\\134c rw,nosuid shared:5 - fuse.vfio vfio rw\n\n";
        let found: Vec<_> = mounts(table).collect();
        assert_eq!(found, [(21, PathBuf::from("/proc")), (99, PathBuf::from("/tmp/a b\\c"))]);
    }

    #[test]
    fn root_is_mounted() {
        let id = uppermost(Path::new("/")).expect("something is");
        assert!(is_mounted(id, Path::new("/")));
        assert!(!is_mounted(id, Path::new("/nowhere")));
    }
}
