//! Commands as they lie in a submission queue, and completions as they lie in a completion queue.

use super::status::Status;

/// Bytes of a command.
pub(super) const COMMAND_SIZE: usize = 64;
/// Bytes of a completion.
pub(super) const COMPLETION_SIZE: usize = 16;

/// Holds a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command([u32; COMMAND_SIZE / 4]);

impl Command {
    /// Reads a command from the bytes of its entry.
    pub(super) fn parse(bytes: &[u8; COMMAND_SIZE]) -> Self {
        let mut words = [0; COMMAND_SIZE / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }

    /// Returns what is to be done.
    pub(super) const fn opcode(&self) -> u8 {
        self.0[0] as u8
    }

    /// Returns the identifier that the completion repeats.
    pub(super) const fn id(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }

    /// Returns the namespace.
    pub(super) const fn namespace(&self) -> u32 {
        self.0[1]
    }

    /// Returns the two entries that lead to the data.
    pub(super) const fn prp(&self) -> [u64; 2] {
        [self.wide::<6>(), self.wide::<8>()]
    }

    /// Returns the dword with a number.
    pub(super) const fn dword<const N: usize>(&self) -> u32 {
        self.0[N]
    }

    /// Returns two dwords as one number.
    pub(super) const fn wide<const N: usize>(&self) -> u64 {
        self.0[N] as u64 | (self.0[N + 1] as u64) << 32
    }

    /// Checks what every command has: it is not half of a fused pair, and its data is described by PRPs.
    pub(super) const fn check(&self) -> Result<(), Status> {
        if self.0[0] & 0xc300 == 0 { Ok(()) } else { Err(Status::INVALID_FIELD) }
    }
}

/// Holds what a command's completion says, apart from what the queues add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) submission_queue: u16,
    pub(super) command: u16,
    pub(super) status: Status,
    pub(super) result: u32,
}

impl Completion {
    /// Makes the completion of a command that succeeded.
    pub(super) const fn success(submission_queue: u16, command: u16, result: u32) -> Self {
        Self { submission_queue, command, status: Status::SUCCESS, result }
    }

    /// Makes the completion of a command that failed.
    pub(super) const fn failure(submission_queue: u16, command: u16, status: Status) -> Self {
        Self { submission_queue, command, status, result: 0 }
    }

    /// Lays the entry out.
    pub(super) fn encode(&self, submission_head: u16, phase: bool) -> [u8; COMPLETION_SIZE] {
        let mut bytes = [0; COMPLETION_SIZE];
        let status = self.status.bits() << 1 | u16::from(phase);
        bytes[0..4].copy_from_slice(&self.result.to_le_bytes());
        bytes[8..10].copy_from_slice(&submission_head.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.submission_queue.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.command.to_le_bytes());
        bytes[14..16].copy_from_slice(&status.to_le_bytes());
        bytes
    }
}
