//! How commands end.

/// Holds the status field of a completion: code, code type, and whether another try could help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(u16);

const DO_NOT_RETRY: u16 = 1 << 14;

impl Status {
    pub(super) const SUCCESS: Self = Self(0);
    pub(super) const INVALID_OPCODE: Self = Self::generic(0x01);
    pub(super) const INVALID_FIELD: Self = Self::generic(0x02);
    pub(super) const DATA_TRANSFER_ERROR: Self = Self(0x04);
    pub(super) const ABORT_REQUESTED: Self = Self(0x07);
    pub(super) const COMMAND_SEQUENCE_ERROR: Self = Self::generic(0x0c);
    pub(super) const INVALID_NAMESPACE: Self = Self::generic(0x0b);
    pub(super) const INVALID_PRP_OFFSET: Self = Self::generic(0x13);
    pub(super) const WRITE_PROTECTED: Self = Self::generic(0x20);
    pub(super) const LBA_OUT_OF_RANGE: Self = Self::generic(0x80);
    pub(super) const COMPLETION_QUEUE_INVALID: Self = Self::specific(0x00);
    pub(super) const INVALID_QUEUE_IDENTIFIER: Self = Self::specific(0x01);
    pub(super) const INVALID_QUEUE_SIZE: Self = Self::specific(0x02);
    pub(super) const EVENT_REQUEST_LIMIT: Self = Self::specific(0x05);
    pub(super) const INVALID_INTERRUPT_VECTOR: Self = Self::specific(0x08);
    pub(super) const INVALID_LOG_PAGE: Self = Self::specific(0x09);
    pub(super) const INVALID_QUEUE_DELETION: Self = Self::specific(0x0c);
    pub(super) const FEATURE_NOT_SAVEABLE: Self = Self::specific(0x0d);
    pub(super) const WRITE_FAULT: Self = Self(2 << 8 | 0x80);
    pub(super) const UNRECOVERED_READ_ERROR: Self = Self(2 << 8 | 0x81);

    const fn generic(code: u16) -> Self {
        Self(code | DO_NOT_RETRY)
    }

    const fn specific(code: u16) -> Self {
        Self(1 << 8 | code | DO_NOT_RETRY)
    }

    /// Tells whether the blocks themselves failed.
    pub(super) const fn is_of_media(self) -> bool {
        self.0 >> 8 & 7 == 2
    }

    /// Returns the fifteen bits that stand behind the phase bit.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }
}

/// Says why the work on a command ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The command is to be completed with this status.
    Status(Status),
    /// Memory refused an access.
    Fault,
    /// The controller was reset meanwhile: nobody waits for a completion.
    Reset,
    /// Memory is reachable by messages only, which this thread cannot wait for: another one is to begin again.
    WouldBlock,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}
