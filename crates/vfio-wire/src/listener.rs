//! The socket file that clients come to: private, recognised when it is stale, and gone when the server is.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Mode;
use rustix::io::Errno as OsErrno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use vfio_uapi::Errno;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Accepts clients at a path.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that only our own is removed.
    identity: (u64, u64),
    stop: OwnedFd,
}

/// Who connected, as the system vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Listener {
    /// Listens at `path` with a socket file that only its owner can reach (mode 0600).
    ///
    /// A file left behind by a server that is gone is replaced; nothing else is.
    ///
    /// # Errors
    /// `ENAMETOOLONG` over 107 bytes; `EEXIST` something else than a socket is there; `EADDRINUSE` a server
    /// listens there; `ENOENT` no such directory; `EACCES`.
    pub fn bind(path: &Path) -> Result<Self, Errno> {
        let address = SocketAddrUnix::new(path).map_err(|_| Errno::ENAMETOOLONG)?;
        remove_stale(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(os_errno)?;
        // The mode of the descriptor before bind becomes the mode of the file: there is no moment at which
        // others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(os_errno)?;
        bind(&socket, &address).map_err(os_errno)?;
        listen(&socket, BACKLOG).map_err(os_errno)?;
        let stat = rustix::fs::lstat(path).map_err(os_errno)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(os_errno)?;
        Ok(Self {
            inner: UnixListener::from(socket),
            path: path.to_owned(),
            identity: (stat.st_dev, stat.st_ino),
            stop,
        })
    }

    /// Waits for a client; `None` once [`stop`](Self::stop) was called.
    ///
    /// # Errors
    /// What the system refuses with: `EMFILE`, `ENOMEM`.
    pub fn accept(&self) -> Result<Option<(UnixStream, Peer)>, Errno> {
        loop {
            let mut fds = [PollFd::new(&self.inner, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(OsErrno::INTR) => continue,
                Err(error) => return Err(os_errno(error)),
            }
            if !fds[1].revents().is_empty() {
                return Ok(None);
            }
            match self.inner.accept() {
                Ok((stream, _)) => {
                    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd()).map_err(os_errno)?;
                    let peer = Peer {
                        pid: peer.pid.as_raw_nonzero().get(),
                        uid: peer.uid.as_raw(),
                        gid: peer.gid.as_raw(),
                    };
                    return Ok(Some((stream, peer)));
                }
                Err(error) => match error.kind() {
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(io_errno(&error)),
                },
            }
        }
    }

    /// Has `accept` return, now and ever after.
    pub fn stop(&self) {
        // A counter that is full is signalled already.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Ok(stat) = rustix::fs::lstat(&self.path)
            && (stat.st_dev, stat.st_ino) == self.identity
        {
            // Whoever removed it in between wanted it gone too.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), Errno> {
    let file = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_errno(&error)),
    };
    if !file.file_type().is_socket() {
        return Err(Errno::EEXIST);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| io_errno(&error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(Errno::EADDRINUSE),
    }
}

pub(crate) fn os_errno(error: OsErrno) -> Errno {
    Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
}

pub(crate) fn io_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().and_then(Errno::from_code).unwrap_or(Errno::EIO)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vfio-wire-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).expect("a fresh folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_file_is_private_and_goes_with_its_listener() {
        let folder = Folder::new("private");
        let path = folder.0.join("s");
        let listener = Listener::bind(&path).expect("a listener");
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Listener::bind(&path).unwrap_err(), Errno::EADDRINUSE);
        let _client = UnixStream::connect(&path).expect("a connection");
        let (_, peer) = listener.accept().expect("no error").expect("a client");
        assert_eq!(peer.pid, std::process::id().cast_signed());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_is_replaced_and_others_are_not() {
        let folder = Folder::new("stale");
        let path = folder.0.join("s");
        drop(UnixListener::bind(&path).expect("a listener"));
        assert!(path.exists());
        drop(Listener::bind(&path).expect("the stale file is replaced"));
        std::fs::write(&path, "text").expect("a file");
        assert_eq!(Listener::bind(&path).unwrap_err(), Errno::EEXIST);
        assert_eq!(Listener::bind(&folder.0.join("no/s")).unwrap_err(), Errno::ENOENT);
        assert_eq!(Listener::bind(&folder.0.join("x".repeat(200))).unwrap_err(), Errno::ENAMETOOLONG);
    }

    #[test]
    fn stopping_ends_a_wait() {
        let folder = Folder::new("stop");
        let listener = std::sync::Arc::new(Listener::bind(&folder.0.join("s")).expect("a listener"));
        let waiting = {
            let listener = listener.clone();
            std::thread::spawn(move || listener.accept())
        };
        listener.stop();
        assert!(waiting.join().expect("no panic").expect("no error").is_none());
    }
}
