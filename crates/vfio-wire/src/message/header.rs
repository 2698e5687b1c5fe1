//! The header that every message starts with.

use vfio_uapi::Errno;

use super::{Fields, HEADER_SIZE};

const TYPE_MASK: u32 = 0xf;
const TYPE_REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// Says what a message is to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request; `no_reply` tells that none is wanted.
    Request {
        /// No reply is wanted, not even for an error.
        no_reply: bool,
    },
    /// A reply to the request of the same id.
    Reply {
        /// The errno with which the request was refused: zero where the peer did not say which.
        error: Option<u32>,
    },
}

/// The first 16 bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the sender of the request; each direction has its own.
    pub id: u16,
    /// Number of the command.
    pub command: u16,
    /// Size of the whole message, header included.
    pub size: u32,
    /// What the message is.
    pub kind: Kind,
}

impl Header {
    /// Reads a header; `None` where the type bits mean nothing.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER_SIZE]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (id, command) = (fields.u16()?, fields.u16()?);
        let (size, flags, error) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let kind = match flags & TYPE_MASK {
            0 => Kind::Request { no_reply: flags & NO_REPLY != 0 },
            TYPE_REPLY => Kind::Reply { error: (flags & ERROR != 0).then_some(error) },
            _ => return None,
        };
        Some(Self { id, command, size, kind })
    }

    /// Appends the header.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes());
    }

    /// Encodes the header.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_SIZE] {
        let (flags, error) = match self.kind {
            Kind::Request { no_reply } => (if no_reply { NO_REPLY } else { 0 }, 0),
            Kind::Reply { error: None } => (TYPE_REPLY, 0),
            Kind::Reply { error: Some(errno) } => (TYPE_REPLY | ERROR, errno),
        };
        let mut bytes = [0; HEADER_SIZE];
        bytes[0..2].copy_from_slice(&self.id.to_ne_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_ne_bytes());
        bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
        bytes[12..16].copy_from_slice(&error.to_ne_bytes());
        bytes
    }

    /// Makes a whole message: this header with its size set, and `body`.
    #[must_use]
    pub fn message(id: u16, command: u16, kind: Kind, body: &[u8]) -> Vec<u8> {
        let total = HEADER_SIZE + body.len();
        let mut bytes = Vec::with_capacity(total);
        let size = u32::try_from(total).expect("bodies are bounded far below 4 GiB");
        Self { id, command, size, kind }.write(&mut bytes);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Makes the reply that refuses the request `id`: a header and nothing else.
    #[must_use]
    pub fn refusal(id: u16, command: u16, errno: Errno) -> Vec<u8> {
        Self::message(id, command, Kind::Reply { error: Some(errno.code().unsigned_abs()) }, &[])
    }
}
