//! Framing: whole messages with their descriptors, over a stream socket, from a peer that is not trusted.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as OsErrno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::message::{HEADER_SIZE, Header};

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

/// A connection that carries whole messages. One thread may receive while others send.
#[derive(Debug)]
pub struct Socket {
    stream: UnixStream,
    /// Largest message that is taken, header included.
    max_size: u32,
    /// How long a peer may take over one message.
    patience: Duration,
    /// Serialises senders: a message is never interleaved with another.
    sending: parking_lot::Mutex<()>,
}

impl Socket {
    /// Frames messages over `stream`. `max_size` bounds a message, header included; `patience` how long the peer
    /// may take over one.
    #[must_use]
    pub fn new(stream: UnixStream, max_size: u32, patience: Duration) -> Self {
        Self { stream, max_size, patience, sending: parking_lot::Mutex::new(()) }
    }

    /// Waits for the next message, however long it takes to begin.
    ///
    /// # Errors
    /// See [`SocketError`]; none can be recovered from.
    pub fn receive(&self) -> Result<Frame, SocketError> {
        self.receive_by(None)
    }

    /// Waits for the next message no longer than `patience`.
    ///
    /// # Errors
    /// See [`SocketError`]; [`SocketError::Stalled`] when none came.
    pub fn receive_within(&self, patience: Duration) -> Result<Frame, SocketError> {
        self.receive_by(Some(Instant::now() + patience))
    }

    fn receive_by(&self, mut deadline: Option<Instant>) -> Result<Frame, SocketError> {
        let mut bytes = [0_u8; HEADER_SIZE];
        let mut fds = Vec::new();
        let mut got = 0;
        while got < HEADER_SIZE {
            self.wait(PollFlags::IN, deadline)?;
            match self.receive_some(&mut bytes[got..], &mut fds)? {
                0 => return Err(if got == 0 { SocketError::Closed } else { SocketError::Cut }),
                count => got += count,
            }
            deadline.get_or_insert_with(|| Instant::now() + self.patience);
        }
        let header = Header::read(&bytes).ok_or(SocketError::BadHeader)?;
        if header.size < HEADER_SIZE as u32 || header.size > self.max_size {
            return Err(SocketError::BadSize(header.size));
        }
        let mut body = vec![0; header.size as usize - HEADER_SIZE];
        let mut got = 0;
        while got < body.len() {
            self.wait(PollFlags::IN, deadline)?;
            match self.receive_some(&mut body[got..], &mut fds)? {
                0 => return Err(SocketError::Cut),
                count => got += count,
            }
        }
        Ok(Frame { header, body, fds })
    }

    fn receive_some(&self, into: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, SocketError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let answer = match recvmsg(&self.stream, &mut [IoSliceMut::new(into)], &mut ancillary, flags) {
            Ok(answer) => answer,
            Err(OsErrno::AGAIN | OsErrno::INTR) => return self.receive_again(into, fds),
            Err(OsErrno::CONNRESET) => return Ok(0),
            Err(error) => return Err(SocketError::Os(error.raw_os_error())),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if fds.len() > MAX_FDS || answer.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(SocketError::TooManyFds);
        }
        Ok(answer.bytes)
    }

    /// A wake-up without data: poll may be wrong about readiness.
    fn receive_again(&self, into: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, SocketError> {
        self.wait(PollFlags::IN, Some(Instant::now() + self.patience))?;
        self.receive_some(into, fds)
    }

    /// Sends a message with its descriptors.
    ///
    /// # Errors
    /// [`SocketError::Closed`] the peer is gone, [`SocketError::Stalled`] it does not read, [`SocketError::Os`].
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SocketError> {
        let _one_at_a_time = self.sending.lock();
        let deadline = Some(Instant::now() + self.patience);
        let mut sent = 0;
        while sent < message.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(SocketError::TooManyFds);
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.stream, &[IoSlice::new(&message[sent..])], &mut ancillary, flags) {
                Ok(count) => sent += count,
                Err(OsErrno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(OsErrno::INTR) => {}
                Err(OsErrno::PIPE | OsErrno::CONNRESET) => return Err(SocketError::Closed),
                Err(error) => return Err(SocketError::Os(error.raw_os_error())),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags, deadline: Option<Instant>) -> Result<(), SocketError> {
        loop {
            let timeout = match deadline {
                None => None,
                Some(at) => {
                    let left = at.checked_duration_since(Instant::now()).ok_or(SocketError::Stalled)?;
                    Some(Timespec::try_from(left).map_err(|_| SocketError::Stalled)?)
                }
            };
            let mut fds = [PollFd::new(&self.stream, events)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Err(SocketError::Stalled),
                Ok(_) => return Ok(()),
                Err(OsErrno::INTR) => {}
                Err(error) => return Err(SocketError::Os(error.raw_os_error())),
            }
        }
    }

    /// Ends the connection: receivers and senders of both sides notice.
    pub fn shut_down(&self) {
        // A socket that is not connected any more is what was wanted.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests;
