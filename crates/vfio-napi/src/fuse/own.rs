//! Requests that this process sends to its own file system and waits for: JavaScript, which waits, cannot answer them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use vfio_fuse::{Attributes, OpenFlags, Operation, Request};
use vfio_uapi::Errno;

/// Asks a file of ours which one it is: `_IOR('v', 0xf0, [u64; 2])`, its handle and its node.
pub(crate) const IDENTIFY: u32 = 0x8010_76f0;
/// Nodes from here on are handles that JavaScript keeps, opened by their numbers.
const HANDLE_NODES: u64 = 1 << 51;
const NAME: &str = ".vfio-handle-";
const ROOT: u64 = 1;
const REGULAR: u32 = 0o100_600;
const DIRECTORY: u32 = 0o040_755;

/// Answers what is for us; gives everything else back.
pub(super) fn answer(request: Request) -> Option<Request> {
    let node = request.node();
    if node & HANDLE_NODES != 0 {
        return answer_handle(request, node & !HANDLE_NODES);
    }
    match request.operation() {
        Operation::Ioctl { cmd, fh, .. } if *cmd == IDENTIFY => {
            let fh = *fh;
            identify(request, fh);
            None
        }
        // Rights on the root are checked on the way to a handle.
        Operation::Getattr { .. } if node == ROOT && is_ours(&request) => {
            let attributes = Attributes { node, mode: DIRECTORY, links: 2, ..attributes(&request, 0) };
            request.reply_attributes(&attributes);
            None
        }
        Operation::Lookup { name } if node == ROOT => match handle_named(name) {
            Some(handle) if is_ours(&request) => {
                let attributes = attributes(&request, handle);
                request.reply_entry(&attributes);
                None
            }
            _ => Some(request),
        },
        _ => Some(request),
    }
}

/// Tells whether the kernel forgets a node that only this file knows.
pub(super) fn is_handle(node: u64) -> bool {
    node & HANDLE_NODES != 0
}

fn answer_handle(request: Request, handle: u64) -> Option<Request> {
    match request.operation() {
        Operation::Getattr { .. } => {
            let attributes = attributes(&request, handle);
            request.reply_attributes(&attributes);
        }
        Operation::Open { .. } if is_ours(&request) => {
            request.reply_opened(handle, OpenFlags::DIRECT_IO | OpenFlags::NOFLUSH, 0);
        }
        Operation::Open { .. } => request.reply_error(Errno::ENXIO),
        Operation::Setattr { .. } => request.reply_error(Errno::EPERM),
        Operation::Ioctl { cmd, fh, .. } if *cmd == IDENTIFY => {
            let fh = *fh;
            identify(request, fh);
        }
        _ => return Some(request),
    }
    None
}

fn identify(request: Request, fh: u64) {
    if is_ours(&request) {
        let numbers = [fh.to_ne_bytes(), request.node().to_ne_bytes()].concat();
        request.reply_ioctl(0, &numbers);
    } else {
        request.reply_error(Errno::ENOTTY);
    }
}

fn attributes(request: &Request, handle: u64) -> Attributes {
    let caller = request.caller();
    let node = HANDLE_NODES | handle;
    Attributes { node, mode: REGULAR, size: 0, links: 1, uid: caller.uid, gid: caller.gid, rdev: 0, mtime: 0 }
}

fn handle_named(name: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(name).ok()?.strip_prefix(NAME)?;
    digits.parse().ok().filter(|handle| *handle < HANDLE_NODES)
}

/// Tells whether a thread of this process asks.
fn is_ours(request: &Request) -> bool {
    let tid = request.caller().tid;
    tid != 0 && std::path::Path::new(&format!("/proc/self/task/{tid}")).exists()
}

/// Opens a handle that JavaScript keeps, through a mount that is nowhere.
///
/// # Errors
/// `EMFILE`, `ENFILE`; `ENOTCONN` the file system has ended.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "asked where programs can be run"))]
pub(crate) fn open_handle(mount: &OwnedFd, handle: u64) -> Result<OwnedFd, Errno> {
    let name = CString::new(format!("{NAME}{handle}")).map_err(|_| Errno::EINVAL)?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(mount.as_fd(), name, flags, rustix::fs::Mode::empty())
        .map_err(|error| Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO))
}
