//! The count itself: an eventfd of the operating system, or a number.

#[cfg(unix)]
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::MAX;

/// Holds a count between 0 and 2^64-2.
pub(super) enum Counter {
    /// A non-blocking eventfd.
    #[cfg(target_os = "linux")]
    Os(OwnedFd),
    /// A number of this process.
    Local(Mutex<u64>),
}

impl Counter {
    /// Makes the best counter there is, holding 0.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> Result<Self, Errno> {
        use rustix::event::{EventfdFlags, eventfd};
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self::Os).map_err(from_os)
    }

    /// Makes the best counter there is, holding 0.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self::local())
    }

    /// Makes a counter without a descriptor, holding 0.
    pub(super) fn local() -> Self {
        Self::Local(Mutex::new(0))
    }

    /// Takes an eventfd over and makes it non-blocking, which its other users see too.
    #[cfg(target_os = "linux")]
    pub(super) fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        use std::os::fd::AsRawFd;
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if link.map_err(|_| Errno::EINVAL)?.as_os_str() != "anon_inode:[eventfd]" {
            return Err(Errno::EINVAL);
        }
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(from_os)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK).map_err(from_os)?;
        Ok(Self::Os(fd))
    }

    /// Takes an eventfd over.
    #[cfg(all(unix, not(target_os = "linux")))]
    pub(super) fn from_fd(_fd: OwnedFd) -> Result<Self, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Adds, or refuses what does not fit.
    pub(super) fn add(&self, value: u64) -> Result<(), Errno> {
        if value > MAX {
            return Err(Errno::EINVAL);
        }
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => loop {
                match rustix::io::write(fd, &value.to_ne_bytes()) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => return other.map(drop).map_err(from_os),
                }
            },
            Self::Local(count) => {
                let mut count = count.lock();
                let sum = count.checked_add(value).filter(|sum| *sum <= MAX).ok_or(Errno::EAGAIN)?;
                *count = sum;
                Ok(())
            }
        }
    }

    /// Adds as much as fits.
    pub(super) fn saturating_add(&self, value: u64) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(_) => {
                // Full: take what is there and put the largest value back; whoever reads in between gets less now and
                // finds the rest in the next read.
                if self.add(value.min(MAX)) == Err(Errno::EAGAIN) && self.take().is_some() {
                    let _ = self.add(MAX);
                }
            }
            Self::Local(count) => {
                let mut count = count.lock();
                *count = count.saturating_add(value).min(MAX);
            }
        }
    }

    /// Takes the count, unless it is zero.
    pub(super) fn take(&self) -> Option<u64> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => {
                let mut bytes = [0; 8];
                loop {
                    match rustix::io::read(fd, &mut bytes) {
                        Err(rustix::io::Errno::INTR) => {}
                        Ok(8) => return Some(u64::from_ne_bytes(bytes)),
                        _ => return None,
                    }
                }
            }
            Self::Local(count) => {
                let taken = std::mem::take(&mut *count.lock());
                (taken != 0).then_some(taken)
            }
        }
    }

    /// Tells whether a read would find something.
    pub(super) fn is_readable(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => polls(fd, rustix::event::PollFlags::IN),
            Self::Local(count) => *count.lock() != 0,
        }
    }

    /// Tells the count, which stays.
    pub(super) fn count(&self) -> Result<u64, Errno> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => {
                use std::os::fd::AsRawFd;
                let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
                let info = info.map_err(|_| Errno::EOPNOTSUPP)?;
                let count = info.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
                let count = count.ok_or(Errno::EOPNOTSUPP)?;
                u64::from_str_radix(count.trim(), 16).map_err(|_| Errno::EOPNOTSUPP)
            }
            Self::Local(count) => Ok(*count.lock()),
        }
    }

    /// Tells whether at least 1 could be added.
    pub(super) fn is_writable(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => polls(fd, rustix::event::PollFlags::OUT),
            Self::Local(count) => *count.lock() < MAX,
        }
    }

    /// Returns the descriptor, where there is one.
    #[cfg(unix)]
    pub(super) fn as_fd(&self) -> Option<&OwnedFd> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Os(fd) => Some(fd),
            Self::Local(_) => None,
        }
    }
}

/// Tells whether a descriptor is ready for something, now.
#[cfg(target_os = "linux")]
fn polls(fd: &OwnedFd, wanted: rustix::event::PollFlags) -> bool {
    use rustix::event::{PollFd, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(fd, wanted)];
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready == 1) && polled[0].revents().contains(wanted)
}

/// Translates an error of the operating system.
#[cfg(target_os = "linux")]
pub(super) fn from_os(error: rustix::io::Errno) -> Errno {
    Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
}
