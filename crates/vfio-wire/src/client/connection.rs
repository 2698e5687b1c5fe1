//! The connection of a client: introduction, calls, and who receives.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::ClientOptions;
use super::memory::LentMemory;
use super::turn::Turn;
use crate::message::{Command, DmaCopy, HEADER_SIZE, Header, Kind, RegionAccess};
use crate::requests::{Answer, Completion, Requests};
use crate::socket::{Frame, Socket, SocketError};
use crate::version::{Capabilities, MAJOR, MINOR, Version};

/// Room for the fixed part of a body beside the data it carries.
const BODY_HEAD: u64 = 64;
/// How often overdue answers are looked after: where nothing comes, and where much does.
const LONGEST_TICK: Duration = Duration::from_millis(500);
const LOOK_EVERY: u32 = 256;
/// Why the client ends a connection.
const BROKEN: &str = "the server broke the protocol";

/// A connection to a server.
pub(super) struct Connection {
    link: Arc<Link>,
    /// What the server takes, and the minor version that it speaks.
    pub(super) server: Capabilities,
    pub(super) minor: u16,
}

/// The part that the connection's own thread shares.
struct Link {
    socket: Socket,
    requests: Requests,
    turn: Turn,
    lent: LentMemory,
    max_transfer: u64,
    /// Messages so far.
    received: AtomicU32,
    end: Mutex<End>,
}

/// Whether the connection has ended, and who wants to know.
#[derive(Default)]
struct End {
    reason: Option<String>,
    told: Vec<EndListener>,
}

/// What a turn to receive came to.
enum Received {
    /// The reply to the caller's own request.
    Own(Answer),
    /// Something else, which was seen to.
    Other,
    /// Nothing, for a while.
    Nothing,
}

/// Learns why a connection has ended.
pub(super) type EndListener = Box<dyn FnOnce(&str) + Send>;

impl Connection {
    pub(super) fn start(stream: UnixStream, options: &ClientOptions) -> Result<Arc<Self>, Errno> {
        let max_transfer = options.capabilities.max_data_xfer_size.clamp(4096, 64 << 20);
        let max_size = (HEADER_SIZE as u64 + BODY_HEAD + max_transfer) as u32;
        let socket = Socket::new(stream, max_size, options.patience);
        let Version { capabilities: server, minor, .. } = introduce(&socket, options)?;
        // While a message is waited for, overdue answers are looked after so often.
        let tick = (options.patience / 8).min(LONGEST_TICK);
        socket.tick(tick).map_err(|error| crate::listener::io_errno(&error))?;
        let link = Arc::new(Link {
            socket,
            requests: Requests::new(options.patience),
            turn: Turn::default(),
            lent: LentMemory::default(),
            max_transfer,
            received: AtomicU32::new(0),
            end: Mutex::default(),
        });
        let receiving = link.clone();
        std::thread::Builder::new()
            .name("vfio-user client".into())
            .spawn(move || receiving.receive_all())
            .map_err(|error| crate::listener::io_errno(&error))?;
        Ok(Arc::new(Self { link, server, minor }))
    }

    /// Sends a request and waits for its reply. Not to be called by what runs with a reply.
    pub(super) fn call(&self, command: Command, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Frame, Errno> {
        self.link.call(command, [body, &[]], fds)
    }

    /// Reads a part of a region, at most as much as a message carries.
    pub(super) fn read_region(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let access = RegionAccess { offset, region, count: into.len() as u32 };
        let Frame { body, .. } = self.link.call(Command::RegionRead, [&access.bytes(), &[]], &[])?;
        match RegionAccess::read(&body) {
            Some((answered, data)) if answered == access && data.len() == into.len() => {
                into.copy_from_slice(data);
                self.link.socket.reuse(body);
                Ok(())
            }
            _ => Err(Errno::EPROTO),
        }
    }

    /// Writes a part of a region, at most as much as a message carries.
    pub(super) fn write_region(&self, region: u32, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let access = RegionAccess { offset, region, count: from.len() as u32 };
        let Frame { body, .. } = self.link.call(Command::RegionWrite, [&access.bytes(), from], &[])?;
        self.link.socket.reuse(body);
        Ok(())
    }

    /// Sends a request; `done` runs with its reply, on another thread.
    pub(super) fn submit(&self, command: Command, body: &[u8], fds: &[BorrowedFd<'_>], done: Completion) {
        self.link.requests.submit(&self.link.socket, command as u16, body, fds, done);
        self.link.turn.call_for();
    }

    /// Returns why the connection has ended, if it has.
    pub(super) fn end_reason(&self) -> Option<String> {
        self.link.end.lock().reason.clone()
    }

    /// Has `told` run once the connection has ended, which may be now.
    pub(super) fn on_end(&self, told: EndListener) {
        let reason = {
            let mut end = self.link.end.lock();
            match end.reason.clone() {
                Some(reason) => reason,
                None => return end.told.push(told),
            }
        };
        told(&reason);
    }

    pub(super) fn lent(&self) -> &LentMemory {
        &self.link.lent
    }

    /// Bytes that one message may carry in either direction.
    pub(super) fn max_transfer(&self) -> usize {
        self.link.max_transfer.min(self.server.max_data_xfer_size).max(1) as usize
    }

    /// Tells whether the server is still there, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.link.requests.has_ended()
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.link.finish("closed on this side");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

fn introduce(socket: &Socket, options: &ClientOptions) -> Result<Version, Errno> {
    let mut body = Vec::new();
    let said = Version { major: MAJOR, minor: MINOR, capabilities: options.capabilities.clone() };
    said.write(&mut body);
    let kind = Kind::Request { no_reply: false };
    socket
        .send(&Header::message(0, Command::Version as u16, kind, &body), &[])
        .map_err(|_| Errno::ENOTCONN)?;
    let frame = socket.receive_within(options.patience).map_err(|error| match error {
        SocketError::Stalled => Errno::ETIMEDOUT,
        SocketError::Closed | SocketError::Cut => Errno::ENOTCONN,
        _ => Errno::EPROTO,
    })?;
    match frame.header.kind {
        Kind::Reply { error: None } if frame.header.command == Command::Version as u16 => {}
        Kind::Reply { error: Some(_) } => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::EPROTO),
    }
    let answered = Version::read(&frame.body).map_err(|_| Errno::EPROTO)?;
    if answered.major != MAJOR || answered.minor > MINOR {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok(answered)
}

impl Link {
    fn call(&self, command: Command, body: [&[u8]; 2], fds: &[BorrowedFd<'_>]) -> Result<Frame, Errno> {
        let id = self.requests.enter_caller(command as u16)?;
        // Entered before the reply can come, so that the connection's own thread leaves it to this one.
        let mut has_turn = self.turn.enter();
        self.requests.send(&self.socket, id, command as u16, body, fds);
        let mut answer = None;
        // Known only when it is wanted: most answers come before anybody looks at the time.
        let mut deadline = None;
        loop {
            if has_turn {
                match self.receive_one(Some(id)) {
                    Ok(Received::Own(own)) => answer = Some(own),
                    Ok(Received::Other | Received::Nothing) => {
                        let deadline = *deadline.get_or_insert_with(|| self.requests.deadline());
                        answer = self.requests.collect(id).or_else(|| self.late(id, deadline));
                    }
                    Err(reason) => {
                        self.finish(&reason);
                        answer = self.requests.collect(id);
                    }
                }
            }
            if answer.is_some() {
                break;
            }
            if !has_turn {
                let mut come = || {
                    answer = self.requests.collect(id);
                    answer.is_some()
                };
                let deadline = *deadline.get_or_insert_with(|| self.requests.deadline());
                has_turn = self.turn.take(deadline, &mut come);
                if !has_turn && answer.is_none() {
                    answer = self.late(id, deadline);
                }
            } else {
                // Others may have theirs.
                self.turn.tell();
            }
        }
        self.turn.leave(has_turn);
        answer.unwrap_or(Err(Errno::ETIMEDOUT))
    }

    /// The end of a call whose answer is overdue.
    fn late(&self, id: u16, deadline: Instant) -> Option<Answer> {
        let late = Instant::now() >= deadline;
        late.then(|| {
            self.requests.give_up(id);
            Err(Errno::ETIMEDOUT)
        })
    }

    /// Receives while nobody else does, until the connection ends.
    fn receive_all(&self) {
        while self.turn.take_over(|| self.requests.has_ended(), || self.requests.waiting()) {
            let received = self.receive_one(None);
            self.turn.give_back();
            if let Err(reason) = received {
                self.finish(&reason);
            }
        }
    }

    /// Waits for a message and sees to it, save the reply to the caller's `own` request.
    fn receive_one(&self, own: Option<u16>) -> Result<Received, String> {
        let received = self.socket.receive_before(None).map_err(|error| error.to_string())?;
        let count = self.received.fetch_add(1, Ordering::Relaxed);
        if received.is_none() || count.is_multiple_of(LOOK_EVERY) {
            self.requests.expire();
        }
        let Some(frame) = received else { return Ok(Received::Nothing) };
        if own == Some(frame.header.id) && matches!(frame.header.kind, Kind::Reply { .. }) {
            let answer = self.requests.complete_own(frame);
            return answer.map(Received::Own).map_err(|_| BROKEN.into());
        }
        let kept = match frame.header.kind {
            Kind::Reply { .. } => self.requests.complete(frame).is_ok(),
            Kind::Request { no_reply } => self.serve(&frame, no_reply),
        };
        if !kept {
            return Err(BROKEN.into());
        }
        self.socket.wait_for_room().map_err(|error| error.to_string())?;
        Ok(Received::Other)
    }

    /// Ends the connection and tells whoever wants to know, once.
    fn finish(&self, reason: &str) {
        let told = {
            let mut end = self.end.lock();
            end.reason.get_or_insert_with(|| reason.to_owned());
            std::mem::take(&mut end.told)
        };
        self.socket.shut_down();
        self.requests.end();
        self.turn.tell();
        self.lent.clear();
        for told in told {
            told(reason);
        }
    }

    /// Answers the server's request; false ends the connection.
    fn serve(&self, frame: &Frame, no_reply: bool) -> bool {
        let Header { id, command, .. } = frame.header;
        let result = match Command::from_number(command) {
            Some(Command::DmaRead) => self.dma_read(&frame.body),
            Some(Command::DmaWrite) => self.dma_write(&frame.body),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::ENOSYS),
        };
        if no_reply {
            return true;
        }
        let message = match result {
            Ok(body) => Header::message(id, command, Kind::Reply { error: None }, &body),
            Err(errno) => Header::refusal(id, command, errno),
        };
        self.socket.send(&message, &[]).is_ok()
    }

    fn dma_read(&self, body: &[u8]) -> Result<Vec<u8>, Errno> {
        let (head, rest) = DmaCopy::read(body).ok_or(Errno::EINVAL)?;
        if !rest.is_empty() || head.count > self.max_transfer {
            return Err(Errno::EINVAL);
        }
        let mut reply = Vec::with_capacity(DmaCopy::SIZE + head.count as usize);
        head.write(&mut reply);
        reply.resize(DmaCopy::SIZE + head.count as usize, 0);
        self.lent.read(head.iova, &mut reply[DmaCopy::SIZE..])?;
        Ok(reply)
    }

    fn dma_write(&self, body: &[u8]) -> Result<Vec<u8>, Errno> {
        let (head, data) = DmaCopy::read(body).ok_or(Errno::EINVAL)?;
        if data.len() as u64 != head.count {
            return Err(Errno::EINVAL);
        }
        self.lent.write(head.iova, data)?;
        let mut reply = Vec::with_capacity(DmaCopy::SIZE);
        head.write(&mut reply);
        Ok(reply)
    }
}
