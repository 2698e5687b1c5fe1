//! How the controller reaches memory: at once, or by messages on a thread that may wait.

use std::cell::Cell;
use std::iter;
use std::sync::Arc;

use vfio_iommu::{DmaFault, DmaSpace, Iova};
use vfio_uapi::Errno;

use super::mailbox::Mailbox;
use super::status::Failure;
use crate::pci::DmaPort;

/// Bytes that are moved in one piece, and that are under way at once where memory is reachable by messages only: no more
/// than the buffer of a socket holds, beyond which not every peer knows how to go on.
const PIECE: usize = 64 << 10;
/// Pieces that are under way at once.
const PIECES_UNDER_WAY: usize = 16;

/// Names contiguous bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) iova: Iova,
    pub(super) len: u64,
}

/// Reaches memory on behalf of one generation of the controller.
#[derive(Debug)]
pub(super) struct Access {
    dma: Arc<DmaPort>,
    mailbox: Arc<Mailbox>,
    generation: u64,
    may_wait: bool,
    by_messages: Cell<bool>,
}

impl Access {
    /// Makes an access for a thread that may or may not wait.
    pub(super) fn new(dma: Arc<DmaPort>, mailbox: Arc<Mailbox>, may_wait: bool, by_messages: bool) -> Self {
        let generation = mailbox.generation();
        Self { dma, mailbox, generation, may_wait, by_messages: Cell::new(by_messages) }
    }

    /// Begins to act for the present generation; what was learnt of memory counts no more if it is another one.
    pub(super) fn renew(&mut self) {
        let generation = self.mailbox.generation();
        if generation != self.generation {
            self.generation = generation;
            self.by_messages.set(false);
        }
    }

    /// Returns the generation on whose behalf memory is reached.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells whether waiting is possible.
    pub(super) const fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Tells whether some memory turned out to be reachable by messages only.
    pub(super) fn by_messages(&self) -> bool {
        self.by_messages.get()
    }

    fn check(&self) -> Result<(), Failure> {
        if self.mailbox.generation() == self.generation { Ok(()) } else { Err(Failure::Reset) }
    }

    /// Judges a refusal: the access may be tried by a message, or it has failed.
    fn falls_back(&self, fault: DmaFault) -> Result<(), Failure> {
        if fault.errno() != Errno::EAGAIN {
            return Err(Failure::Fault);
        }
        self.by_messages.set(true);
        if self.may_wait { Ok(()) } else { Err(Failure::WouldBlock) }
    }

    /// Reads a run of bytes.
    ///
    /// # Errors
    /// Refused; the controller was reset; this thread cannot wait.
    pub(super) fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), Failure> {
        self.check()?;
        if !self.by_messages.get() {
            match self.dma.read(iova, into) {
                Ok(()) => return Ok(()),
                Err(fault) => self.falls_back(fault)?,
            }
        }
        let read = self.mailbox.read(self.generation, &*self.dma, &[(iova, into.len())])?;
        if let Some(bytes) = read.first() {
            into.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes a run of bytes.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) fn write(&self, iova: Iova, from: &[u8]) -> Result<(), Failure> {
        self.check()?;
        if !self.by_messages.get() {
            match self.dma.write(iova, from) {
                Ok(()) => return Ok(()),
                Err(fault) => self.falls_back(fault)?,
            }
        }
        self.mailbox.write(self.generation, &*self.dma, vec![(iova, from.to_vec())])
    }

    /// Writes an entry of a completion queue, whose last word tells that the rest is there.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) fn publish(&self, iova: Iova, entry: &[u8; 16]) -> Result<(), Failure> {
        if self.by_messages.get() {
            return self.write(iova, entry);
        }
        self.write(iova, &entry[..8])?;
        self.write(iova + 8, &entry[8..])
    }

    /// Copies memory to `consume`, which is given an offset and the bytes from there on.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and what `consume` fails with.
    pub(super) fn take(
        &self,
        segments: &[Segment],
        mut consume: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        let pieces: Vec<Piece> = pieces(segments).collect();
        for window in windows(&pieces) {
            if self.by_messages.get() {
                self.check()?;
                let runs: Vec<_> = window.iter().map(|piece| (piece.iova, piece.len)).collect();
                let read = self.mailbox.read(self.generation, &*self.dma, &runs)?;
                for (piece, bytes) in window.iter().zip(&read) {
                    consume(piece.at, bytes)?;
                }
                continue;
            }
            for piece in window {
                buffer.resize(piece.len, 0);
                self.read(piece.iova, &mut buffer)?;
                consume(piece.at, &buffer)?;
            }
        }
        Ok(())
    }

    /// Copies to memory what `produce` fills in, given an offset and room for the bytes from there on.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and what `produce` fails with.
    pub(super) fn give(
        &self,
        segments: &[Segment],
        mut produce: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        let pieces: Vec<Piece> = pieces(segments).collect();
        for window in windows(&pieces) {
            if self.by_messages.get() {
                self.check()?;
                let mut runs = Vec::with_capacity(window.len());
                for piece in window {
                    let mut bytes = vec![0; piece.len];
                    produce(piece.at, &mut bytes)?;
                    runs.push((piece.iova, bytes));
                }
                self.mailbox.write(self.generation, &*self.dma, runs)?;
                continue;
            }
            for piece in window {
                buffer.resize(piece.len, 0);
                produce(piece.at, &mut buffer)?;
                self.write(piece.iova, &buffer)?;
            }
        }
        Ok(())
    }
}

/// Is a part of a transfer small enough to be moved at once.
#[derive(Debug, Clone, Copy)]
struct Piece {
    iova: Iova,
    len: usize,
    /// Offset in the transfer.
    at: u64,
}

/// Parts pieces into those that may be under way together.
fn windows(mut pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    iter::from_fn(move || {
        let mut bytes = 0;
        let fit = pieces.iter().take(PIECES_UNDER_WAY).take_while(|piece| {
            bytes += piece.len;
            bytes <= PIECE
        });
        let (window, rest) = pieces.split_at(fit.count());
        pieces = rest;
        (!window.is_empty()).then_some(window)
    })
}

fn pieces(segments: &[Segment]) -> impl Iterator<Item = Piece> + '_ {
    let mut start = 0;
    segments.iter().flat_map(move |segment| {
        let base = start;
        start += segment.len;
        (0..segment.len).step_by(PIECE).map(move |within| Piece {
            iova: segment.iova + within,
            len: (segment.len - within).min(PIECE as u64) as usize,
            at: base + within,
        })
    })
}
