//! Accesses to BARs whose model may answer later: the pieces are submitted one after the other.

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_uapi::Errno;
use vfio_uapi::vfio::pci::VFIO_PCI_BAR5_REGION_INDEX;

use super::low_power::Awake;
use super::plan::{Piece, Plan};
use crate::ops::{Completion, complete};

/// Reads from a region, now or later.
pub(super) fn read(session: Awake, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
    if region > VFIO_PCI_BAR5_REGION_INDEX || len == 0 {
        let mut bytes = vec![0; len];
        let read = if len == 0 { Ok(0) } else { session.read(region, offset, &mut bytes) };
        done(read.map(|count| {
            bytes.truncate(count);
            bytes
        }));
        return;
    }
    match session.bar_plan(region as u8, offset, len) {
        Ok(plan) => {
            let bytes = Vec::with_capacity(plan.left());
            drive(Box::new(Transfer { session, bar: region as u8, plan, work: Work::Read(bytes, done) }));
        }
        Err(errno) => done(Err(errno)),
    }
}

/// Writes to a region, now or later.
pub(super) fn write(session: Awake, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
    if region > VFIO_PCI_BAR5_REGION_INDEX || from.is_empty() {
        let written = if from.is_empty() { Ok(0) } else { session.write(region, offset, &from) };
        done(written);
        return;
    }
    match session.bar_plan(region as u8, offset, from.len()) {
        Ok(plan) => {
            drive(Box::new(Transfer { session, bar: region as u8, plan, work: Work::Write(from, 0, done) }));
        }
        Err(errno) => done(Err(errno)),
    }
}

/// Holds an access under way; the device stays awake until it is over.
struct Transfer {
    session: Awake,
    bar: u8,
    plan: Plan,
    work: Work,
}

enum Work {
    /// The bytes read so far.
    Read(Vec<u8>, Completion<Vec<u8>>),
    /// The bytes to write, and how many have been.
    Write(Vec<u8>, usize, Completion<usize>),
}

/// Where the one who submitted a piece and the one who answers it meet.
enum Meeting {
    /// Neither is there.
    Open,
    /// The answer came before the submission returned.
    Answered(Result<Vec<u8>, Errno>),
    /// The submission returned; whoever answers goes on.
    Waiting(Box<Transfer>),
}

/// Runs pieces until one is not answered at once. No piece is submitted from within the answer to another, so that a
/// long access does not pile up calls.
fn drive(mut transfer: Box<Transfer>) {
    loop {
        let Some(piece) = transfer.plan.next() else { return transfer.work.finish(Ok(())) };
        let Piece::Access(at, len) = piece else {
            transfer.work.answer(vec![0xff; piece.len()], piece.len());
            continue;
        };
        if let Err(errno) = transfer.session.check_decoding(transfer.bar) {
            return transfer.work.finish(Err(errno));
        }
        let meeting = Arc::new(Mutex::new(Meeting::Open));
        transfer.submit(at, len, Arc::clone(&meeting));
        let answer = {
            let mut meeting = meeting.lock();
            match std::mem::replace(&mut *meeting, Meeting::Open) {
                Meeting::Answered(answer) => answer,
                _ => {
                    *meeting = Meeting::Waiting(transfer);
                    return;
                }
            }
        };
        match answer {
            Ok(bytes) => transfer.work.answer(bytes, len),
            Err(errno) => return transfer.work.finish(Err(errno)),
        }
    }
}

impl Transfer {
    fn submit(&self, at: u64, len: usize, meeting: Arc<Mutex<Meeting>>) {
        let answer = move |answer: Result<Vec<u8>, Errno>| {
            let waiting = {
                let mut meeting = meeting.lock();
                match std::mem::replace(&mut *meeting, Meeting::Open) {
                    Meeting::Waiting(transfer) => Some((transfer, answer)),
                    _ => {
                        *meeting = Meeting::Answered(answer);
                        None
                    }
                }
            };
            let Some((mut transfer, answer)) = waiting else { return };
            match answer {
                Ok(bytes) => {
                    transfer.work.answer(bytes, len);
                    drive(transfer);
                }
                Err(errno) => transfer.work.finish(Err(errno)),
            }
        };
        let function = &self.session.function;
        match &self.work {
            Work::Read(..) => function.submit_bar_read(self.bar, at, len, complete(answer)),
            Work::Write(from, done, _) => {
                let piece = from[*done..*done + len].to_vec();
                let answered = move |written: Result<(), Errno>| answer(written.map(|()| Vec::new()));
                function.submit_bar_write(self.bar, at, piece, complete(answered));
            }
        }
    }
}

impl Work {
    fn answer(&mut self, mut bytes: Vec<u8>, len: usize) {
        match self {
            Self::Read(read, _) => {
                // A model that answers with too few or too many bytes does not shift the ones that follow.
                bytes.resize(len, 0xff);
                read.append(&mut bytes);
            }
            Self::Write(_, done, _) => *done += len,
        }
    }

    fn finish(self, result: Result<(), Errno>) {
        match self {
            Self::Read(bytes, done) => done(result.map(|()| bytes)),
            Self::Write(_, count, done) => done(result.map(|()| count)),
        }
    }
}
