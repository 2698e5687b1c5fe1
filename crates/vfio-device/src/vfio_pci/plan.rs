//! How an access to a region is cut into accesses of the hardware.

use std::ops::Range;

/// Names a piece of an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes at an offset go to the hardware at once.
    Access(u64, usize),
    /// So many bytes are kept from the user: reads give all ones, writes are dropped.
    Excluded(usize),
}

impl Piece {
    /// Returns the bytes of the piece.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Access(_, len) | Self::Excluded(len) => *len,
        }
    }
}

/// Cuts an access into its pieces: naturally aligned, as wide as can be, apart from what is excluded.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    offset: u64,
    left: usize,
    excluded: Range<u64>,
    widest: usize,
}

impl Plan {
    /// Plans an access of `len` bytes at `offset`.
    pub(super) const fn new(offset: u64, len: usize, excluded: Range<u64>, widest: usize) -> Self {
        Self { offset, left: len, excluded, widest }
    }

    /// Returns the bytes that are left.
    pub(super) const fn left(&self) -> usize {
        self.left
    }
}

impl Iterator for Plan {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            return None;
        }
        let Range { start, end } = self.excluded;
        let reach = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX).min(self.left);
        let free = match self.offset {
            offset if offset < start => reach(start - offset),
            offset if offset >= end => self.left,
            _ => 0,
        };
        let piece = if free == 0 {
            Piece::Excluded(reach(end - self.offset))
        } else {
            let fits = |width: &usize| {
                *width <= self.widest && *width <= free && self.offset.is_multiple_of(*width as u64)
            };
            Piece::Access(self.offset, [8, 4, 2].into_iter().find(fits).unwrap_or(1))
        };
        self.offset += piece.len() as u64;
        self.left -= piece.len();
        Some(piece)
    }
}
