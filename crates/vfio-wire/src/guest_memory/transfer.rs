//! Accesses to memory that is reached by messages only.

use std::sync::{Arc, Weak};

use vfio_iommu::{Access, DmaFault, FaultReason, Iova, ReadDone, WriteDone};
use vfio_uapi::Errno;

use super::Carrier;
use crate::message::{Command, DmaCopy};
use crate::turnstile::{MAX_MESSAGE, Turnstile};

/// A submitted access under way, a message at a time.
pub(super) struct Transfer {
    carrier: Weak<dyn Carrier>,
    turnstile: Arc<Turnstile>,
    iova: Iova,
    len: usize,
}

impl Transfer {
    pub(super) fn new(carrier: Weak<dyn Carrier>, turnstile: Arc<Turnstile>, iova: Iova, len: usize) -> Self {
        Self { carrier, turnstile, iova, len }
    }

    fn fault(&self, at: usize, access: Access, reason: FaultReason) -> DmaFault {
        DmaFault { iova: self.iova + at as u64, len: (self.len - at) as u64, access, reason }
    }

    /// Reads on behind what has come.
    pub(super) fn read_on(self, bytes: Vec<u8>, done: ReadDone) {
        let left = self.len - bytes.len();
        if left == 0 {
            return done(Ok(bytes));
        }
        let limit = self.carrier.upgrade().map_or(MAX_MESSAGE, |carrier| carrier.max_transfer());
        let count = left.min(MAX_MESSAGE).min(limit);
        let turnstile = self.turnstile.clone();
        turnstile.enter(count, Box::new(move || self.read_message(bytes, count, done)));
    }

    fn read_message(self, mut bytes: Vec<u8>, count: usize, done: ReadDone) {
        let at = bytes.len();
        let Some(carrier) = self.carrier.upgrade() else {
            self.turnstile.leave(count);
            return done(Err(self.fault(at, Access::Read, FaultReason::Detached)));
        };
        let head = DmaCopy { iova: self.iova + at as u64, count: count as u64 };
        let mut body = Vec::with_capacity(DmaCopy::SIZE);
        head.write(&mut body);
        carrier.submit(
            Command::DmaRead,
            &body,
            Box::new(move |answer| {
                self.turnstile.leave(count);
                let frame = match answer {
                    Ok(frame) => frame,
                    Err(errno) => return done(Err(self.fault(at, Access::Read, reason(errno)))),
                };
                match DmaCopy::read(&frame.body) {
                    Some((answered, data)) if answered == head && data.len() == count => {
                        bytes.extend_from_slice(data);
                        self.read_on(bytes, done);
                    }
                    _ => done(Err(self.fault(at, Access::Read, FaultReason::Detached))),
                }
            }),
        );
    }

    /// Writes on behind what has gone. Replies are small, so writes need no turn.
    pub(super) fn write_on(self, data: Arc<[u8]>, at: usize, done: WriteDone) {
        if at == self.len {
            return done(Ok(()));
        }
        let Some(carrier) = self.carrier.upgrade() else {
            return done(Err(self.fault(at, Access::Write, FaultReason::Detached)));
        };
        let count = (self.len - at).min(carrier.max_transfer());
        let mut body = Vec::with_capacity(DmaCopy::SIZE + count);
        DmaCopy { iova: self.iova + at as u64, count: count as u64 }.write(&mut body);
        body.extend_from_slice(&data[at..at + count]);
        carrier.submit(
            Command::DmaWrite,
            &body,
            Box::new(move |answer| match answer {
                Ok(_) => self.write_on(data, at + count, done),
                Err(errno) => done(Err(self.fault(at, Access::Write, reason(errno)))),
            }),
        );
    }
}

/// Why an access failed that the client, or the connection, refused.
fn reason(errno: Errno) -> FaultReason {
    match errno {
        Errno::EAGAIN => FaultReason::WouldBlock,
        Errno::ENOMEM => FaultReason::OutOfMemory,
        _ => FaultReason::Detached,
    }
}
