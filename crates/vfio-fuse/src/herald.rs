//! The thread of a session that tells others of changes.
//!
//! The kernel learns of changes by notices. Those who watch a directory (`inotify`) do not: no notice makes the kernel tell them
//! that something has appeared. So the thread does what another user would do, through the mount: it makes the directory that
//! is already there, and the file system, which knows its own thread ([`Request::is_own`](crate::Request::is_own)), agrees.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, mknodat, open, openat, symlinkat, unlinkat};
use rustix::io;
use vfio_uapi::Errno;

use crate::notify::Notifier;
use crate::thread::this_thread;

/// What watchers of a directory are to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A directory has appeared.
    MadeDirectory,
    /// A regular file has appeared.
    MadeFile,
    /// A character device has appeared.
    MadeDevice,
    /// A link has appeared.
    MadeLink,
    /// A directory has gone.
    RemovedDirectory,
    /// A file or a link has gone.
    Removed,
    /// A file has other contents.
    Written,
}

/// Something to be done on the thread.
pub(crate) enum Job {
    /// Telling the kernel.
    Tell(Box<dyn FnOnce(&Notifier) + Send>),
    /// Telling watchers of what lies at a path below the root.
    Announce(Change, PathBuf),
}

/// Where the root of the mount is.
pub(crate) enum Root {
    Directory(PathBuf),
    Mount(OwnedFd),
}

/// Hands jobs to the thread; once dropped, the thread ends after them.
pub(crate) struct Herald(mpsc::Sender<Job>);

impl Herald {
    /// Starts the thread, which leaves its id in `tid` before it does anything.
    ///
    /// # Errors
    /// `EAGAIN` no room for a thread.
    pub(crate) fn start(root: Root, notifier: Notifier, tid: Arc<AtomicU32>) -> Result<Self, Errno> {
        let (sender, jobs) = mpsc::channel();
        let work = move || {
            tid.store(this_thread(), Ordering::Release);
            for job in jobs {
                match job {
                    Job::Tell(tell) => tell(&notifier),
                    // What a watcher is not told it can still find by looking.
                    Job::Announce(change, path) => drop(announce(&root, change, path)),
                }
            }
        };
        std::thread::Builder::new().name("vfio-fuse-tell".into()).spawn(work).map_err(|_| Errno::EAGAIN)?;
        Ok(Self(sender))
    }

    /// Gives the thread something to do.
    pub(crate) fn give(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

fn announce(root: &Root, change: Change, path: PathBuf) -> io::Result<()> {
    let opened;
    let root = match root {
        Root::Mount(fd) => fd,
        Root::Directory(directory) => {
            opened = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            &opened
        }
    };
    match change {
        Change::MadeDirectory => mkdirat(root, path, Mode::from_raw_mode(0o755)),
        Change::MadeFile => mknodat(root, path, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
        // Without a number, which anybody may make.
        Change::MadeDevice => mknodat(root, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), 0),
        Change::MadeLink => symlinkat(".", root, path),
        Change::RemovedDirectory => unlinkat(root, path, AtFlags::REMOVEDIR),
        Change::Removed => unlinkat(root, path, AtFlags::empty()),
        Change::Written => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::ftruncate(openat(root, path, flags, Mode::empty())?, 0)
        }
    }
}
