//! One client, from its introduction to its end.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock, Weak};

use vfio_device::VfioDeviceOps;
use vfio_uapi::Errno;

use super::dispatch::Answer;
use super::flow::Flow;
use super::late::Late;
use super::regions::RegionTable;
use super::{EventSink, ServerEvent, ServerOptions};
use crate::guest_memory::{Carrier, GuestMemory};
use crate::listener::Peer;
use crate::message::{Command, HEADER_SIZE, Header, Kind};
use crate::requests::{Completion, Requests};
use crate::socket::{Frame, MAX_FDS, Socket, SocketError};
use crate::version::{Capabilities, MAJOR, Version};

/// Room for the fixed part of a body beside the data it carries.
const BODY_HEAD: u64 = 64;

/// A client.
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) requests: Requests,
    pub(super) device: Arc<dyn VfioDeviceOps>,
    pub(super) memory: Arc<GuestMemory>,
    pub(super) flow: Flow,
    pub(super) regions: RegionTable,
    pub(super) late: Late,
    pub(super) max_transfer: u32,
    pub(super) max_fds: usize,
    /// What the client takes, once it has said so.
    client: OnceLock<Capabilities>,
    peer: Peer,
    options: ServerOptions,
}

/// Where a reply goes. Dropping it sends none.
pub(super) struct ReplyTo {
    id: u16,
    command: u16,
    no_reply: bool,
}

impl Connection {
    pub(super) fn new(
        stream: UnixStream,
        peer: Peer,
        device: Arc<dyn VfioDeviceOps>,
        options: &ServerOptions,
    ) -> Arc<Self> {
        let largest = HEADER_SIZE as u64 + BODY_HEAD + options.max_data_xfer_size;
        let max_size = u32::try_from(largest).expect("checked when the server started");
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            socket: Socket::new(stream, max_size, options.patience),
            requests: Requests::new(options.patience),
            memory: Arc::new(GuestMemory::new(this.clone(), options.max_dma_maps as usize)),
            flow: Flow::default(),
            regions: RegionTable::default(),
            late: Late::new(options.answer_within),
            max_transfer: options.max_data_xfer_size as u32,
            max_fds: options.max_msg_fds as usize,
            client: OnceLock::new(),
            device,
            peer,
            options: options.clone(),
        })
    }

    pub(super) fn shut_down(&self) {
        self.socket.shut_down();
    }

    /// Serves the client until it goes or is sent away.
    pub(super) fn run(self: &Arc<Self>, events: &EventSink) {
        let minor = match self.introduce() {
            Ok(minor) => minor,
            Err(reason) => return events(ServerEvent::Refused { reason }),
        };
        if let Err(errno) = self.device.open_device(Some(self.memory.clone())) {
            let reason = format!("the device refused to open: {}", errno.name());
            return events(ServerEvent::Refused { reason });
        }
        events(ServerEvent::Attached { peer: self.peer, minor });
        let reason = self.receive_all();
        self.leave();
        events(ServerEvent::Detached { reason });
    }

    /// The first message: the version, in time.
    fn introduce(&self) -> Result<u16, String> {
        let frame = self.socket.receive_within(self.options.patience).map_err(|error| error.to_string())?;
        let Kind::Request { no_reply } = frame.header.kind else {
            return Err("a reply came before the version".into());
        };
        let to = ReplyTo { id: frame.header.id, command: frame.header.command, no_reply };
        if frame.header.command != Command::Version as u16 || no_reply || !frame.fds.is_empty() {
            self.refuse(&to, Errno::EINVAL);
            return Err("the first message is not a version".into());
        }
        let said = Version::read(&frame.body).map_err(|error| {
            self.refuse(&to, Errno::EINVAL);
            format!("a version that cannot be read: {error:?}")
        })?;
        if said.major != MAJOR {
            self.refuse(&to, Errno::EINVAL);
            return Err(format!("version {}.{} is not spoken here", said.major, said.minor));
        }
        let minor = said.answered_minor();
        let capabilities = Capabilities {
            max_msg_fds: self.options.max_msg_fds,
            max_data_xfer_size: self.options.max_data_xfer_size,
            max_dma_maps: self.options.max_dma_maps,
            // Nothing is offered that the client did not.
            write_multiple: said.capabilities.write_multiple,
            ..Capabilities::default()
        };
        let mut body = Vec::new();
        Version { major: MAJOR, minor, capabilities }.write(&mut body);
        self.reply(&to, Answer::body(body));
        let _ = self.client.set(said.capabilities);
        Ok(minor)
    }

    /// Serves messages; returns why there are no more.
    fn receive_all(self: &Arc<Self>) -> String {
        let mut spare = Vec::new();
        loop {
            let frame = match self.socket.receive_into(std::mem::take(&mut spare)) {
                Ok(frame) => frame,
                Err(error) => return error.to_string(),
            };
            match self.serve_message(frame) {
                Ok(body) => spare = body,
                Err(reason) => return reason.into(),
            }
            if let Err(error) = self.socket.wait_for_room() {
                return error.to_string();
            }
        }
    }

    /// Looks after deadlines: of our requests, and of the device's answers.
    pub(super) fn look_after(&self) {
        let asked = self.requests.expire();
        self.late.expire(asked);
    }

    /// Descriptors that the client takes with one message.
    pub(super) fn client_fds(&self) -> usize {
        let said = self.client.get().map_or(1, |client| client.max_msg_fds);
        usize::try_from(said).unwrap_or(usize::MAX).min(MAX_FDS)
    }

    /// Serves a message; gives the memory of its body back.
    fn serve_message(self: &Arc<Self>, frame: Frame) -> Result<Vec<u8>, &'static str> {
        let header = frame.header;
        match header.kind {
            Kind::Reply { .. } => {
                self.requests.complete(frame).map_err(|_| "a reply that nobody waits for")?;
                Ok(Vec::new())
            }
            Kind::Request { no_reply }
                if self.access_now(&ReplyTo { id: header.id, command: header.command, no_reply }, &frame) =>
            {
                Ok(frame.body)
            }
            Kind::Request { no_reply } => {
                self.flow.admit(&self.requests, &self.socket, super::flow::cost(&frame))?;
                Ok(self.dispatch(ReplyTo { id: header.id, command: header.command, no_reply }, frame))
            }
        }
    }

    /// The client is gone: nothing of it stays.
    pub(super) fn leave(&self) {
        self.socket.shut_down();
        self.requests.end();
        self.device.set_dma(None);
        self.memory.unmap_all();
        self.device.close_device();
        if !self.options.keep_state {
            // A device without a reset has none to do.
            let _ = self.device.reset();
        }
    }

    /// Sends a reply.
    pub(super) fn reply(&self, to: &ReplyTo, mut answer: Answer) {
        if !to.no_reply {
            let message = answer.message(to.id, to.command);
            self.sent(self.socket.send(&message, &answer.fds()));
        }
    }

    /// Sends a reply to a small access: `message` has room for the header in front.
    pub(super) fn reply_framed(&self, to: &ReplyTo, message: &mut [u8]) {
        if !to.no_reply {
            let size = u32::try_from(message.len()).expect("a small one");
            let kind = Kind::Reply { error: None };
            let header = Header { id: to.id, command: to.command, size, kind };
            message[..HEADER_SIZE].copy_from_slice(&header.bytes());
            self.sent(self.socket.send(message, &[]));
        }
    }

    /// Sends a refusal.
    pub(super) fn refuse(&self, to: &ReplyTo, errno: Errno) {
        if !to.no_reply {
            self.sent(self.socket.send(&Header::refusal(to.id, to.command, errno), &[]));
        }
    }

    /// A reply that cannot be sent ends the connection; the thread that receives notices.
    fn sent(&self, result: Result<(), SocketError>) {
        if result.is_err() {
            self.socket.shut_down();
        }
    }
}

impl Carrier for Connection {
    fn submit(&self, command: Command, body: &[u8], done: Completion) {
        let Some(id) = self.requests.enter(command as u16, done) else { return };
        // The client may not answer before it has what it waits for itself.
        self.late.acknowledge_writes();
        self.requests.send(&self.socket, id, command as u16, [body, &[]], &[]);
    }

    /// What both sides take.
    fn max_transfer(&self) -> usize {
        let client = self.client.get().map_or(u64::MAX, |client| client.max_data_xfer_size);
        u64::from(self.max_transfer).min(client).max(1) as usize
    }
}
