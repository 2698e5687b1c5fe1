//! Framing: whole messages with their descriptors, over a stream socket, from a peer that is not trusted.

mod inbox;
mod outbox;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as OsErrno;
use rustix::net::RecvFlags;

use crate::message::Header;
use inbox::{Fetched, Inbox};
use outbox::Outbox;

/// Most descriptors that are taken beside one message.
pub const MAX_FDS: usize = 16;

/// A received message.
#[derive(Debug)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: Vec<u8>,
    /// Descriptors that came with it, in order.
    pub fds: Vec<OwnedFd>,
}

/// Says why no message could be received or sent: the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketError {
    /// The peer closed the connection between two messages.
    Closed,
    /// The peer closed the connection within a message.
    Cut,
    /// The header's type bits mean nothing.
    BadHeader,
    /// The size is below that of a header or above the limit.
    BadSize(u32),
    /// More descriptors than may come with a message, or some in its middle.
    TooManyFds,
    /// The peer began a message and did not end it in time, or does not read what it is sent.
    Stalled,
    /// The system refused.
    Os(i32),
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Cut => f.write_str("the peer closed the connection within a message"),
            Self::BadHeader => f.write_str("a header with a type that means nothing"),
            Self::BadSize(size) => write!(f, "a message of {size} bytes"),
            Self::TooManyFds => f.write_str("too many descriptors with a message"),
            Self::Stalled => f.write_str("the peer stopped within a message, or does not read"),
            Self::Os(code) => write!(f, "the system refused with error {code}"),
        }
    }
}

impl std::error::Error for SocketError {}

/// A connection that carries whole messages. One thread receives while any may send.
#[derive(Debug)]
pub struct Socket {
    /// Largest message that is taken, header included.
    max_size: u32,
    /// How long a peer may take over one message.
    patience: Duration,
    /// Waiting comes back every now and then.
    ticks: AtomicBool,
    inbox: Mutex<Inbox>,
    outbox: Outbox,
}

impl Socket {
    /// Frames messages over `stream`. `max_size` bounds a message, header included; `patience` how long the peer
    /// may take over one. The stream is a blocking one.
    #[must_use]
    pub fn new(stream: UnixStream, max_size: u32, patience: Duration) -> Self {
        let (inbox, outbox) = (Mutex::new(Inbox::new()), Outbox::new(stream, patience));
        Self { max_size, patience, ticks: AtomicBool::new(false), inbox, outbox }
    }

    /// Has waiting for a message come back every now and then.
    ///
    /// # Errors
    /// What the system refuses with.
    pub fn tick(&self, tick: Duration) -> std::io::Result<()> {
        self.outbox.stream().set_read_timeout(Some(tick.max(Duration::from_millis(1))))?;
        self.ticks.store(true, Ordering::Release);
        Ok(())
    }

    /// Gives the memory of a body back for the next one.
    pub fn reuse(&self, body: Vec<u8>) {
        self.inbox.lock().reuse(body);
    }

    /// Waits for the next message, whose body takes the memory of one that is done with.
    ///
    /// # Errors
    /// See [`SocketError`]; none can be recovered from.
    pub fn receive_into(&self, spare: Vec<u8>) -> Result<Frame, SocketError> {
        let mut inbox = self.inbox.lock();
        inbox.reuse(spare);
        loop {
            if let Some(frame) = self.receive_from(&mut inbox, None, None)? {
                return Ok(frame);
            }
        }
    }

    /// Waits for the next message, however long it takes to begin.
    ///
    /// # Errors
    /// See [`SocketError`]; none can be recovered from.
    pub fn receive(&self) -> Result<Frame, SocketError> {
        loop {
            if let Some(frame) = self.receive_before(None)? {
                return Ok(frame);
            }
        }
    }

    /// Waits for the next message no longer than `patience`, for all of it.
    ///
    /// # Errors
    /// See [`SocketError`]; [`SocketError::Stalled`] when none came.
    pub fn receive_within(&self, patience: Duration) -> Result<Frame, SocketError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(frame) = self.receive_by(Some(deadline), Some(deadline))? {
                return Ok(frame);
            }
            if Instant::now() >= deadline {
                return Err(SocketError::Stalled);
            }
        }
    }

    /// Waits for the next message; none, if it has not begun by the deadline, or by the next [tick](Self::tick).
    ///
    /// # Errors
    /// See [`SocketError`]; none can be recovered from.
    pub fn receive_before(&self, deadline: Option<Instant>) -> Result<Option<Frame>, SocketError> {
        self.receive_by(deadline, None)
    }

    fn receive_by(&self, begin: Option<Instant>, end: Option<Instant>) -> Result<Option<Frame>, SocketError> {
        self.receive_from(&mut self.inbox.lock(), begin, end)
    }

    fn receive_from(
        &self,
        inbox: &mut Inbox,
        begin: Option<Instant>,
        mut end: Option<Instant>,
    ) -> Result<Option<Frame>, SocketError> {
        loop {
            if let Some(frame) = inbox.take(self.max_size)? {
                return Ok(Some(frame));
            }
            let begun = inbox.has_begun();
            if begun {
                end.get_or_insert_with(|| Instant::now() + self.patience);
            }
            let deadline = if begun { end } else { begin };
            // Mostly one call receives a message; only a deadline is worth another, where the call does not come back by
            // itself.
            let mut flags = RecvFlags::empty();
            if deadline.is_some() && !(begun && self.ticks.load(Ordering::Acquire)) {
                if !poll_until(self.outbox.stream(), PollFlags::IN, deadline)? {
                    return if begun { Err(SocketError::Stalled) } else { Ok(None) };
                }
                flags |= RecvFlags::DONTWAIT;
            }
            match inbox.fetch(self.outbox.stream(), flags, self.max_size)? {
                Fetched::End if begun => return Err(SocketError::Cut),
                Fetched::End => return Err(SocketError::Closed),
                Fetched::Nothing if !begun && deadline.is_none() => return Ok(None),
                Fetched::Nothing if deadline.is_some_and(|at| Instant::now() >= at) => {
                    return if begun { Err(SocketError::Stalled) } else { Ok(None) };
                }
                Fetched::Nothing | Fetched::Some => {}
            }
        }
    }

    /// Sends a message with its descriptors, without waiting for the peer.
    ///
    /// # Errors
    /// [`SocketError::Closed`] the peer is gone, [`SocketError::Stalled`] it does not read, [`SocketError::Os`].
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SocketError> {
        self.outbox.send(message, fds)
    }

    /// Waits until the peer has taken most of what was sent.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn wait_for_room(&self) -> Result<(), SocketError> {
        self.outbox.wait_for_room()
    }

    /// Tells whether the peer has closed the connection, whatever of it was not received yet.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.outbox.stream(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Ends the connection: receivers and senders of both sides notice.
    pub fn shut_down(&self) {
        // A socket that is not connected any more is what was wanted.
        let _ = self.outbox.stream().shutdown(std::net::Shutdown::Both);
    }
}

/// Waits for events, or an end; false when the deadline has come first.
fn poll_until(
    stream: &UnixStream,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, SocketError> {
    loop {
        let timeout = match deadline {
            None => None,
            Some(at) => {
                // What is past counts as now.
                let left = at.saturating_duration_since(Instant::now());
                Some(Timespec::try_from(left).map_err(|_| SocketError::Stalled)?)
            }
        };
        match poll(&mut [PollFd::new(stream, events)], timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(OsErrno::INTR) => {}
            Err(error) => return Err(SocketError::Os(error.raw_os_error())),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outbox.stream().as_fd()
    }
}

#[cfg(test)]
mod tests;
