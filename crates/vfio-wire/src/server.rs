//! The server: a device behind a socket, for one client after the other.
//!
//! One thread accepts a client, receives its messages and answers them; another keeps time. A device that answers later (one that is
//! emulated in JavaScript, say) completes on whatever thread it likes; the reply goes out from there. The thread that
//! receives never waits for the client: a client may be waiting for us at the same moment, with a lock held that it
//! needs to answer.
//!
//! When a client is gone, in whatever way, its memory is unmapped, its eventfds are let go, the device is closed and,
//! unless the state is to be kept, reset. Then the next client may come.

mod areas;
mod connection;
mod dispatch;
mod features;
mod flow;
mod info;
mod interrupts;
mod late;
mod memory;
mod regions;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vfio_device::VfioDeviceOps;
use vfio_device::ops::Served;
use vfio_uapi::Errno;

pub use crate::listener::Peer;
use crate::listener::{Listener, io_errno};
use connection::Connection;

/// How often deadlines are looked after while there is a client.
const SHORTEST_TICK: Duration = Duration::from_millis(5);
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Descriptors that the client may send with one message (at most 16).
    pub max_msg_fds: u64,
    /// Bytes of data in one message.
    pub max_data_xfer_size: u64,
    /// Mappings that a client may have at once.
    pub max_dma_maps: u64,
    /// How long a client may take to introduce itself and to finish a message it began.
    pub patience: Duration,
    /// How long the device may take over a region access; then the client is told `ETIMEDOUT`. QEMU waits five seconds.
    pub answer_within: Duration,
    /// Leave the device as it is when a client goes, instead of resetting it.
    pub keep_state: bool,
    /// Only let processes of this user in.
    pub allowed_uid: Option<u32>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_msg_fds: 16,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: 65_535,
            patience: Duration::from_secs(5),
            answer_within: Duration::from_secs(4),
            keep_state: false,
            allowed_uid: None,
        }
    }
}

/// What a server tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A client introduced itself, with its minor version, and opened the device.
    Attached {
        /// Who it is.
        peer: Peer,
        /// The minor version agreed on.
        minor: u16,
    },
    /// A client went, for this reason.
    Detached {
        /// Why, in words.
        reason: String,
    },
    /// A client was not let in.
    Refused {
        /// Why, in words.
        reason: String,
    },
    /// The server has stopped: the device is closed, nothing touches it any more, and this is the last event.
    Stopped,
}

/// Receives what a server tells; called on the server's thread.
pub type EventSink = Arc<dyn Fn(ServerEvent) + Send + Sync>;

/// Serves a device at a path until it is stopped or dropped.
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// Gone, with its file, as soon as nobody is accepted any more.
    listener: Mutex<Option<Arc<Listener>>>,
    device: Arc<dyn VfioDeviceOps>,
    options: ServerOptions,
    events: EventSink,
    stopped: AtomicBool,
    current: Mutex<Option<Arc<Connection>>>,
    /// Told when a client has come, or nobody will any more.
    changed: Condvar,
}

impl Server {
    /// Starts to serve `device` at `path`.
    ///
    /// # Errors
    /// Those of [`Listener::bind`]; `EINVAL` senseless options; `EAGAIN` no thread to be had.
    pub fn start(
        device: Arc<dyn VfioDeviceOps>,
        path: &Path,
        options: ServerOptions,
        events: EventSink,
    ) -> Result<Self, Errno> {
        let sensible = (1..=crate::socket::MAX_FDS as u64).contains(&options.max_msg_fds)
            && (4096..=64 << 20).contains(&options.max_data_xfer_size)
            && (1..=65_535).contains(&options.max_dma_maps)
            && !options.patience.is_zero()
            && !options.answer_within.is_zero();
        if !sensible {
            return Err(Errno::EINVAL);
        }
        let retain_state = options.keep_state;
        let shared = Arc::new(Shared {
            listener: Mutex::new(Some(Arc::new(Listener::bind(path)?))),
            device,
            options,
            events,
            stopped: AtomicBool::new(false),
            current: Mutex::new(None),
            changed: Condvar::new(),
        });
        shared.device.set_served(Some(Served { retain_state }));
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("vfio-user".into())
            .spawn(move || {
                std::thread::scope(|scope| {
                    let clock = std::thread::Builder::new().name("vfio-user clock".into());
                    // Without one nothing is ever overdue: whoever waits, waits.
                    let _ = clock.spawn_scoped(scope, || serving.keep_time());
                    let served = catch_unwind(AssertUnwindSafe(|| serving.serve()));
                    serving.stop();
                    if let Err(panic) = served {
                        resume_unwind(panic);
                    }
                });
                let listener = serving.listener.lock().take();
                drop(listener);
                serving.device.set_served(None);
                (serving.events)(ServerEvent::Stopped);
            })
            .map_err(|error| io_errno(&error))?;
        Ok(Self { path: path.to_owned(), shared, thread: Mutex::new(Some(thread)) })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the client away and stops listening, without waiting for that to be finished.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Tells whether the server's thread has ended: the device is closed and nothing touches it any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.lock().as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops and waits until the device is closed. Not to be called from a callback of the device.
    pub fn join(&self) {
        self.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in a device's callback has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.lock().as_ref() {
            listener.stop();
        }
        if let Some(connection) = self.current.lock().as_ref() {
            connection.shut_down();
        }
        self.changed.notify_all();
    }

    /// Looks after deadlines of the client's connection, on a thread of its own: the one that receives has no other call
    /// to make than that which waits for the next message.
    fn keep_time(&self) {
        let shortest = self.options.patience.min(self.options.answer_within);
        let tick = (shortest / 8).clamp(SHORTEST_TICK, LONGEST_TICK);
        let mut current = self.current.lock();
        while !self.stopped.load(Ordering::SeqCst) {
            let Some(connection) = current.clone() else {
                self.changed.wait(&mut current);
                continue;
            };
            drop(current);
            connection.look_after();
            drop(connection);
            current = self.current.lock();
            if !self.stopped.load(Ordering::SeqCst) {
                self.changed.wait_for(&mut current, tick);
            }
        }
    }

    fn serve(&self) {
        let Some(listener) = self.listener.lock().clone() else { return };
        while !self.stopped.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok(Some((stream, peer))) => self.serve_client(stream, peer),
                Ok(None) => return,
                Err(errno) => {
                    (self.events)(ServerEvent::Refused {
                        reason: format!("accept failed: {}", errno.name()),
                    });
                    // Out of descriptors or memory: give whoever holds them a moment.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn serve_client(&self, stream: std::os::unix::net::UnixStream, peer: Peer) {
        if let Some(uid) = self.options.allowed_uid
            && uid != peer.uid
        {
            let reason = format!("user {} is not let in, only user {uid}", peer.uid);
            return (self.events)(ServerEvent::Refused { reason });
        }
        let connection = Connection::new(stream, peer, self.device.clone(), &self.options);
        *self.current.lock() = Some(connection.clone());
        self.changed.notify_all();
        if !self.stopped.load(Ordering::SeqCst) {
            let run = AssertUnwindSafe(|| connection.run(&self.events));
            if catch_unwind(run).is_err() {
                // The panic has been reported; the next client finds the device closed, as after any other.
                let _ = catch_unwind(AssertUnwindSafe(|| connection.leave()));
                (self.events)(ServerEvent::Detached { reason: "the device model panicked".into() });
            }
        }
        *self.current.lock() = None;
    }
}
