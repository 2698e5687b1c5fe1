//! Ioctls that have stopped, and their answers.

// UNSAFETY: the listener is spoken to by ioctls of its own.
#![expect(unsafe_code, reason = "no library knows the listener's ioctls")]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use vfio_uapi::Errno;

use crate::errno;

const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const NOTIF_ID_VALID: libc::c_ulong = 0x4008_2102;
const NOTIF_ADDFD: libc::c_ulong = 0x4018_2103;
const CONTINUE: u32 = 1;

#[repr(C)]
#[derive(Default)]
struct Notif {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    instruction_pointer: u64,
    args: [u64; 6],
}

#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

/// An ioctl whose caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ioctl {
    /// Names it.
    pub id: u64,
    /// Thread that waits.
    pub thread: i32,
    /// Descriptor of the caller's.
    pub fd: i32,
    /// Request.
    pub request: u32,
    /// Argument.
    pub argument: u64,
}

/// The listener of one program and its children.
#[derive(Debug)]
pub struct Ioctls(OwnedFd);

impl Ioctls {
    pub(crate) fn new(listener: OwnedFd) -> Self {
        Self(listener)
    }

    /// Waits for the next one; none: nobody is left who could send one.
    #[must_use]
    pub fn next(&self) -> Option<Ioctl> {
        loop {
            let mut ready = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry on the stack.
            let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
            if polled < 0 && errno::last() == Errno::EINTR {
                continue;
            }
            if polled < 0 || ready.revents & libc::POLLIN == 0 {
                return None;
            }
            let mut notif = Notif::default();
            // SAFETY: the structure has the size that the request says, and is zero.
            if unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_RECV as _, &raw mut notif) } == 0 {
                return Some(Ioctl {
                    id: notif.id,
                    thread: notif.pid.cast_signed(),
                    fd: notif.args[0] as u32 as i32,
                    request: notif.args[1] as u32,
                    argument: notif.args[2],
                });
            }
            // ENOENT: who waited was killed meanwhile.
        }
    }

    /// Tells whether its caller still waits.
    #[must_use]
    pub fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the request takes the number's address.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ID_VALID as _, &raw const id) == 0 }
    }

    /// Lets the call return a value, or a negated errno.
    pub fn answer(&self, id: u64, value: i64) {
        let error = if value < 0 { i32::try_from(value).unwrap_or(-libc::EIO) } else { 0 };
        self.send(Response { id, val: value.max(0), error, flags: 0 });
    }

    /// Lets the kernel do the call.
    pub fn pass(&self, id: u64) {
        self.send(Response { id, val: 0, error: 0, flags: CONTINUE });
    }

    /// Gives the caller a descriptor, and tells its number.
    ///
    /// # Errors
    /// `EMFILE` it has too many; `ENOENT` it waits no more.
    pub fn add(&self, id: u64, file: BorrowedFd<'_>) -> Result<i32, Errno> {
        let srcfd = file.as_raw_fd().cast_unsigned();
        let added = AddFd { id, flags: 0, srcfd, newfd: 0, newfd_flags: libc::O_CLOEXEC as u32 };
        // SAFETY: the structure has the size that the request says.
        let fd = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ADDFD as _, &raw const added) };
        if fd < 0 { Err(errno::last()) } else { Ok(fd) }
    }

    /// ENOENT: its caller was killed, and nobody waits.
    fn send(&self, response: Response) {
        // SAFETY: the structure has the size that the request says.
        let _ = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SEND as _, &raw const response) };
    }
}
