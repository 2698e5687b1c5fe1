//! What is sent and was not taken by the system yet.
//!
//! Nobody who sends waits for the peer: what the socket has no room for is queued, and a thread that lives as long as
//! the queue hands it over. A peer that does not read is given up when the queue is full, or makes no headway.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::PollFlags;
use rustix::io::Errno as OsErrno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};

use super::{MAX_FDS, SocketError, poll_until};

/// Bytes that may be queued before the peer is given up.
const MOST: usize = 64 << 20;
/// Bytes queued from which on whoever can wait does.
const PLENTY: usize = 1 << 20;

/// Sends messages in the order in which they come.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: UnixStream,
    patience: Duration,
    state: Mutex<State>,
    /// There is more in the queue than there should be, or it has failed.
    pressed: AtomicBool,
    /// Told when the queue has become shorter.
    shorter: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Part>,
    bytes: usize,
    failed: Option<SocketError>,
}

#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Outbox {
    pub(super) fn new(stream: UnixStream, patience: Duration) -> Self {
        let (state, pressed, shorter) = (Mutex::default(), AtomicBool::new(false), Condvar::new());
        Self(Arc::new(Shared { stream, patience, state, pressed, shorter }))
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.0.stream
    }

    /// Sends a message, or queues what there is no room for. Never waits.
    pub(super) fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SocketError> {
        if fds.len() > MAX_FDS {
            return Err(SocketError::TooManyFds);
        }
        let mut state = self.0.state.lock();
        if let Some(error) = state.failed {
            return Err(error);
        }
        let mut sent = 0;
        if state.queue.is_empty() {
            while sent < message.len() {
                match send_some(&self.0.stream, &message[sent..], if sent == 0 { fds } else { &[] }) {
                    Ok(0) => break,
                    Ok(count) => sent += count,
                    Err(error) => {
                        state.failed = Some(error);
                        self.0.pressed.store(true, Ordering::Release);
                        return Err(error);
                    }
                }
            }
            if sent == message.len() {
                return Ok(());
            }
        }
        let left = message.len() - sent;
        if state.bytes + left > MOST {
            return Err(SocketError::Stalled);
        }
        let mut own = Vec::new();
        if sent == 0 {
            for fd in fds {
                own.push(
                    fd.try_clone_to_owned().map_err(|_| SocketError::Os(OsErrno::MFILE.raw_os_error()))?,
                );
            }
        }
        let alone = state.queue.is_empty();
        state.bytes += left;
        self.0.pressed.store(true, Ordering::Release);
        state.queue.push_back(Part { bytes: message[sent..].to_vec(), sent: 0, fds: own });
        if alone && let Err(error) = self.start_flushing() {
            state.failed = Some(error);
            return Err(error);
        }
        Ok(())
    }

    /// Waits until not much is queued: for whoever would otherwise go on to make more.
    pub(super) fn wait_for_room(&self) -> Result<(), SocketError> {
        if !self.0.pressed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.0.state.lock();
        loop {
            if let Some(error) = state.failed {
                return Err(error);
            }
            if state.bytes <= PLENTY {
                // Set again, under the lock, by whoever queues something.
                self.0.pressed.store(!state.queue.is_empty(), Ordering::Release);
                return Ok(());
            }
            // Whoever flushes gives up in time, and tells.
            self.0.shorter.wait(&mut state);
        }
    }

    fn start_flushing(&self) -> Result<(), SocketError> {
        let shared = self.0.clone();
        let thread = std::thread::Builder::new().name("vfio-user send".into());
        thread.spawn(move || shared.flush()).map(drop).map_err(|_| SocketError::Stalled)
    }
}

impl Shared {
    /// Hands the queue over until it is empty or the peer is given up.
    fn flush(&self) {
        loop {
            let deadline = Instant::now() + self.patience;
            let waited = poll_until(&self.stream, PollFlags::OUT, Some(deadline));
            let mut state = self.state.lock();
            let outcome = match waited {
                Ok(true) => state.send_queued(&self.stream),
                Ok(false) => Err(SocketError::Stalled),
                Err(error) => Err(error),
            };
            self.shorter.notify_all();
            match outcome {
                Ok(()) if state.queue.is_empty() => return,
                Ok(()) => {}
                Err(error) => {
                    state.failed = Some(error);
                    state.queue.clear();
                    state.bytes = 0;
                    // A socket that is not connected any more is what was wanted.
                    let _ = self.stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
            }
        }
    }
}

impl State {
    /// Sends from the front of the queue until it is empty or there is no room.
    fn send_queued(&mut self, stream: &UnixStream) -> Result<(), SocketError> {
        while let Some(part) = self.queue.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = part.fds.iter().map(AsFd::as_fd).collect();
            let count = send_some(stream, &part.bytes[part.sent..], &fds)?;
            if count == 0 {
                return Ok(());
            }
            part.fds.clear();
            part.sent += count;
            self.bytes -= count;
            if part.sent == part.bytes.len() {
                self.queue.pop_front();
            }
        }
        Ok(())
    }
}

/// Sends what there is room for; 0: there is none.
fn send_some(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, SocketError> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    loop {
        let sent = if fds.is_empty() {
            send(stream, bytes, flags)
        } else {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(SocketError::TooManyFds);
            }
            sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, flags)
        };
        match sent {
            Ok(count) => return Ok(count),
            Err(OsErrno::AGAIN) => return Ok(0),
            Err(OsErrno::INTR) => {}
            Err(OsErrno::PIPE | OsErrno::CONNRESET) => return Err(SocketError::Closed),
            Err(error) => return Err(SocketError::Os(error.raw_os_error())),
        }
    }
}
