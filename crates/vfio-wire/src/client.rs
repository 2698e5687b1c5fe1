//! The client: a device in another process, behind its socket.
//!
//! Calls block the calling thread until the reply has come, for as long as the connection's patience; meanwhile it
//! receives. Otherwise a thread of the connection does: replies go to whoever submitted the request, and the server's
//! requests to read or write memory are answered from what was mapped.

mod areas;
pub mod ask;
mod chain;
mod connection;
mod device;
mod memory;
mod ops;
mod turn;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno as OsErrno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_socket, socket_with,
};
use vfio_uapi::Errno;

use crate::listener::{io_errno, os_errno};
use crate::version::Capabilities;
use connection::Connection;
pub use device::{Loan, RemoteDevice, RemoteRegion};

/// How often to try again while the server's queue is full.
const RETRY: Duration = Duration::from_millis(10);

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long the server may take over a reply.
    pub patience: Duration,
    /// What the client takes; the version it asks for is the highest it speaks.
    pub capabilities: Capabilities,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let capabilities = Capabilities { max_msg_fds: 16, ..Capabilities::default() };
        Self { patience: Duration::from_secs(5), capabilities }
    }
}

/// Connects to the server at `path` and introduces this side.
///
/// # Errors
/// `ENAMETOOLONG`; `ENOENT`, `ECONNREFUSED`, `EACCES` from the socket; `ETIMEDOUT` the server is busy, or does not answer;
/// `ENOTCONN` it closed the connection; `EPROTO` it does not speak the protocol; `EPROTONOSUPPORT` not this version.
pub fn connect(path: &Path, options: &ClientOptions) -> Result<RemoteDevice, Errno> {
    connect_stream(reach(path, options.patience)?, options)
}

/// Introduces this side over a stream that is connected.
///
/// # Errors
/// As [`connect`].
pub fn connect_stream(stream: UnixStream, options: &ClientOptions) -> Result<RemoteDevice, Errno> {
    stream.set_nonblocking(false).map_err(|error| io_errno(&error))?;
    Ok(RemoteDevice::new(Connection::start(stream, options)?))
}

/// Connects; a server whose queue is full is asked again until `patience` ends, for waiting in the system has no end.
fn reach(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let address = SocketAddrUnix::new(path).map_err(|_| Errno::ENAMETOOLONG)?;
    let deadline = Instant::now() + patience;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(os_errno)?;
    loop {
        match connect_socket(&socket, &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(OsErrno::AGAIN | OsErrno::INTR) if Instant::now() < deadline => std::thread::sleep(RETRY),
            Err(OsErrno::AGAIN) => return Err(Errno::ETIMEDOUT),
            Err(error) => return Err(os_errno(error)),
        }
    }
}
