//! Requests of ours that wait for the peer's reply: ids, replies by id, and the end of the connection.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vfio_uapi::Errno;

use crate::message::{HEADER_SIZE, Header, Kind};
use crate::socket::{Frame, Socket};

/// Requests that may be under way at once; more wait their turn by failing with `EAGAIN`.
const MAX_PENDING: usize = 1024;
/// Bits of an id that name a slot; the others count how often it was used.
const SLOT_BITS: u32 = MAX_PENDING.trailing_zeros();
/// Messages up to this size are put together without allocating.
const SMALL: usize = 128;

/// What becomes of a request.
pub(crate) type Answer = Result<Frame, Errno>;

/// Runs when a reply has come, or never will.
pub(crate) type Completion = Box<dyn FnOnce(Answer) + Send>;

/// Matches replies to requests. Whoever receives hands replies in; any thread sends.
pub(crate) struct Requests {
    /// How long the peer may take over a reply.
    patience: Duration,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    ended: bool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Replies that somebody waits for.
    waiting: usize,
}

#[derive(Default)]
struct Slot {
    /// Tells the uses of the slot apart, so that a reply to one is not taken for that to the next.
    uses: u16,
    request: Option<Waiting>,
}

struct Waiting {
    command: u16,
    whose: Whose,
}

/// Who waits for a reply.
enum Whose {
    /// This runs with it; asked for at this time.
    Completion(Completion, Instant),
    /// A thread, which collects it from here.
    Caller(Option<Answer>),
    /// Nobody any more, but it may still come.
    Nobody,
}

impl Requests {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, pending: Mutex::default() }
    }

    /// Sends a request; `done` runs with the reply, on the thread that receives, or at once with the refusal:
    /// `EAGAIN` too many are under way, `ENOTCONN` the connection has ended.
    pub(crate) fn submit(
        &self,
        socket: &Socket,
        command: u16,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
        done: Completion,
    ) {
        if let Some(id) = self.enter(command, done) {
            self.send(socket, id, command, [body, &[]], fds);
        }
    }

    /// Waits for the reply to a request from now on, which [`send`](Self::send) has to follow. Where that cannot be, `done`
    /// runs with the refusal.
    pub(crate) fn enter(&self, command: u16, done: Completion) -> Option<u16> {
        let mut pending = self.pending.lock();
        if let Err(errno) = pending.check() {
            drop(pending);
            done(Err(errno));
            return None;
        }
        Some(pending.insert(command, Whose::Completion(done, Instant::now())))
    }

    /// Waits likewise; the calling thread [collects](Self::collect) the reply, or [gives up](Self::give_up).
    pub(crate) fn enter_caller(&self, command: u16) -> Result<u16, Errno> {
        let mut pending = self.pending.lock();
        pending.check()?;
        Ok(pending.insert(command, Whose::Caller(None)))
    }

    /// Sends a request that was entered; its body is put together of two parts.
    pub(crate) fn send(
        &self,
        socket: &Socket,
        id: u16,
        command: u16,
        body: [&[u8]; 2],
        fds: &[BorrowedFd<'_>],
    ) {
        let [head, data] = body;
        let size = HEADER_SIZE + head.len() + data.len();
        let (mut small, mut large) = ([0; SMALL], Vec::new());
        let message = match small.get_mut(..size) {
            Some(message) => message,
            None => {
                large.resize(size, 0);
                &mut large[..]
            }
        };
        let kind = Kind::Request { no_reply: false };
        let header =
            Header { id, command, size: u32::try_from(size).expect("bodies are far below 4 GiB"), kind };
        message[..HEADER_SIZE].copy_from_slice(&header.bytes());
        let (to_head, to_data) = message[HEADER_SIZE..].split_at_mut(head.len());
        to_head.copy_from_slice(head);
        to_data.copy_from_slice(data);
        if socket.send(message, fds).is_err() {
            // Whoever receives will notice too, and end the others.
            socket.shut_down();
            let done = self.pending.lock().fail(id, Errno::ENOTCONN);
            if let Some(done) = done {
                done(Err(Errno::ENOTCONN));
            }
        }
    }

    /// Takes the reply to a request of the calling thread's, if it has come.
    pub(crate) fn collect(&self, id: u16) -> Option<Answer> {
        let mut pending = self.pending.lock();
        let (at, request) = pending.find(id)?;
        let Whose::Caller(answer) = &mut request.whose else { return None };
        let answer = answer.take()?;
        pending.free(at);
        Some(answer)
    }

    /// Waits no more for the reply to a request of the calling thread's.
    pub(crate) fn give_up(&self, id: u16) {
        let mut pending = self.pending.lock();
        match pending.find(id) {
            Some((_, request)) if matches!(request.whose, Whose::Caller(None)) => {
                request.whose = Whose::Nobody;
                pending.waiting -= 1;
            }
            // It has come meanwhile.
            Some((at, _)) => pending.free(at),
            None => {}
        }
    }

    /// Makes the answer of the reply to a request of the calling thread's.
    ///
    /// # Errors
    /// `EPROTO` it answers another command.
    pub(crate) fn complete_own(&self, frame: Frame) -> Result<Answer, Errno> {
        let mut pending = self.pending.lock();
        let (at, request) = pending.find(frame.header.id).ok_or(Errno::EPROTO)?;
        if request.command != frame.header.command || !matches!(request.whose, Whose::Caller(None)) {
            return Err(Errno::EPROTO);
        }
        pending.free(at);
        pending.waiting -= 1;
        drop(pending);
        answer(frame)
    }

    /// Hands a reply in.
    ///
    /// # Errors
    /// `EPROTO` nobody waits for it, or it answers another command: the peer is not to be trusted any more.
    pub(crate) fn complete(&self, frame: Frame) -> Result<(), Errno> {
        let Header { id, command, .. } = frame.header;
        let answer = answer(frame)?;
        let done = {
            let mut pending = self.pending.lock();
            let (at, request) = pending.find(id).ok_or(Errno::EPROTO)?;
            if request.command != command {
                return Err(Errno::EPROTO);
            }
            match &mut request.whose {
                Whose::Caller(Some(_)) => return Err(Errno::EPROTO),
                Whose::Caller(place) => {
                    *place = Some(answer);
                    pending.waiting -= 1;
                    return Ok(());
                }
                Whose::Nobody => {
                    pending.free(at);
                    return Ok(());
                }
                Whose::Completion(..) => pending.take(at),
            }
        };
        if let Some(done) = done {
            done(answer);
        }
        Ok(())
    }

    /// Ends requests whose replies are overdue with `ETIMEDOUT`; returns since when the oldest of the others waits. Those
    /// of threads that wait do not count: they see to that themselves.
    pub(crate) fn expire(&self) -> Option<Instant> {
        let mut overdue = Vec::new();
        let mut oldest = None;
        {
            let pending = &mut *self.pending.lock();
            if pending.waiting == 0 {
                return None;
            }
            let now = Instant::now();
            for request in pending.slots.iter_mut().filter_map(|slot| slot.request.as_mut()) {
                let Whose::Completion(_, sent) = request.whose else { continue };
                if now.saturating_duration_since(sent) < self.patience {
                    oldest = Some(oldest.map_or(sent, |oldest: Instant| oldest.min(sent)));
                } else if let Whose::Completion(done, _) =
                    std::mem::replace(&mut request.whose, Whose::Nobody)
                {
                    overdue.push(done);
                    pending.waiting -= 1;
                }
            }
        }
        for done in overdue {
            done(Err(Errno::ETIMEDOUT));
        }
        oldest
    }

    /// Returns when a request that is sent now is overdue.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Tells whether a reply is being waited for.
    pub(crate) fn waiting(&self) -> bool {
        self.pending.lock().waiting > 0
    }

    /// Tells whether the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.pending.lock().ended
    }

    /// Ends all that wait, now and later, with `ENOTCONN`.
    pub(crate) fn end(&self) {
        let mut ended = Vec::new();
        {
            let pending = &mut *self.pending.lock();
            pending.ended = true;
            pending.waiting = 0;
            for slot in &mut pending.slots {
                match slot.request.take() {
                    Some(Waiting { whose: Whose::Completion(done, _), .. }) => ended.push(done),
                    Some(Waiting { command, whose: Whose::Caller(answer) }) => {
                        let whose = Whose::Caller(answer.or(Some(Err(Errno::ENOTCONN))));
                        slot.request = Some(Waiting { command, whose });
                    }
                    _ => {}
                }
            }
        }
        for done in ended {
            done(Err(Errno::ENOTCONN));
        }
    }
}

impl Pending {
    /// `ENOTCONN` the connection has ended, `EAGAIN` too many are under way.
    fn check(&self) -> Result<(), Errno> {
        if self.ended {
            Err(Errno::ENOTCONN)
        } else if self.free.is_empty() && self.slots.len() >= MAX_PENDING {
            Err(Errno::EAGAIN)
        } else {
            Ok(())
        }
    }

    fn insert(&mut self, command: u16, whose: Whose) -> u16 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let slot = &mut self.slots[at];
        slot.uses = slot.uses.wrapping_add(1);
        slot.request = Some(Waiting { command, whose });
        self.waiting += 1;
        at as u16 | slot.uses << SLOT_BITS
    }

    fn find(&mut self, id: u16) -> Option<(usize, &mut Waiting)> {
        let at = usize::from(id) % MAX_PENDING;
        let slot =
            self.slots.get_mut(at).filter(|slot| slot.uses << SLOT_BITS == id & !(MAX_PENDING as u16 - 1))?;
        Some((at, slot.request.as_mut()?))
    }

    fn free(&mut self, at: usize) {
        self.slots[at].request = None;
        self.free.push(at);
    }

    /// Frees a slot whose completion is to run.
    fn take(&mut self, at: usize) -> Option<Completion> {
        let request = self.slots[at].request.take()?;
        self.free.push(at);
        self.waiting -= 1;
        if let Whose::Completion(done, _) = request.whose { Some(done) } else { None }
    }

    /// Fails a request that could not be sent.
    fn fail(&mut self, id: u16, errno: Errno) -> Option<Completion> {
        let (at, request) = self.find(id)?;
        match &mut request.whose {
            Whose::Completion(..) => self.take(at),
            Whose::Caller(answer) => {
                if answer.is_none() {
                    *answer = Some(Err(errno));
                    self.waiting -= 1;
                }
                None
            }
            Whose::Nobody => None,
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("waiting", &self.pending.lock().waiting).finish()
    }
}

/// `EPROTO` it is no reply.
fn answer(frame: Frame) -> Result<Answer, Errno> {
    match frame.header.kind {
        Kind::Reply { error: None } => Ok(Ok(frame)),
        Kind::Reply { error: Some(code) } => Ok(Err(peer_errno(code))),
        Kind::Request { .. } => Err(Errno::EPROTO),
    }
}

/// Some servers refuse without saying why.
fn peer_errno(code: u32) -> Errno {
    i32::try_from(code).ok().and_then(Errno::from_code).unwrap_or(Errno::EIO)
}
