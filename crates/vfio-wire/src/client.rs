//! The client: a device in another process, behind its socket.
//!
//! A thread of the connection receives: replies go to whoever waits for them, and the server's requests to read or
//! write memory are answered from what was mapped. Calls block the calling thread until the reply has come, for as
//! long as the connection's patience.

mod connection;
mod device;
mod memory;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vfio_uapi::Errno;

use crate::listener::io_errno;
use crate::version::Capabilities;
use connection::Connection;
pub use device::{RemoteDevice, RemoteRegion};

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
/// `ENOENT`, `ECONNREFUSED`, `EACCES` from the socket; `EPROTO` the server does not speak the protocol;
/// `EPROTONOSUPPORT` not this version; `ETIMEDOUT` it does not answer.
pub fn connect(path: &Path, options: &ClientOptions) -> Result<RemoteDevice, Errno> {
    let stream = UnixStream::connect(path).map_err(|error| io_errno(&error))?;
    Ok(RemoteDevice::new(Connection::start(stream, options)?))
}

/// Introduces this side over a stream that is connected.
///
/// # Errors
/// As [`connect`].
pub fn connect_stream(stream: UnixStream, options: &ClientOptions) -> Result<RemoteDevice, Errno> {
    Ok(RemoteDevice::new(Connection::start(stream, options)?))
}

/// A connection that ends with its last user.
type Shared = Arc<Connection>;
