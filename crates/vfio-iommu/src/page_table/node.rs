//! The nodes a slot can link to: tables, buckets, and the owners of detachable memory.
//!
//! Nodes are made and freed by the writer alone, under its lock; readers reach them through entries that were
//! stored with release ordering, and only inside an epoch. So a node may be freed when it was unlinked, and
//! an epoch has passed since.

// UNSAFETY: nodes live behind tagged addresses in atomic words, out of the borrow checker's sight.
#![expect(unsafe_code, reason = "turns tagged addresses into nodes and back")]

use std::alloc::{Layout, alloc_zeroed};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use vfio_memory::Memory;
use vfio_uapi::Errno;

use super::entry::{Entry, FANOUT};

/// Mappings a bucket can hold.
pub(super) const BUCKET_RANGES: usize = 8;

/// 512 slots, each an [`Entry`].
#[repr(C, align(64))]
pub(super) struct Table {
    slots: [AtomicU64; FANOUT],
    /// Slots in use; the writer's own note.
    used: AtomicU32,
}

/// A few ranges inside the span of one slot: what makes a sparse space small.
///
/// Ranges are appended, may grow, and never change or go otherwise: removing one builds a new bucket. A range
/// counts once its entry is not empty, which is stored last.
#[repr(C, align(64))]
pub(super) struct Bucket {
    ranges: [BucketRange; BUCKET_RANGES],
}

struct BucketRange {
    entry: AtomicU64,
    start: AtomicU64,
    /// Size less one.
    extent: AtomicU64,
}

/// Owns a handle to memory that may vanish, for the leaves of one mapping.
pub(super) struct Detachable {
    pub(super) memory: Memory,
    /// What to add to an IOVA, wrapping, to get the offset in `memory`.
    pub(super) shift: u64,
    /// Bytes still mapped; the writer's own note.
    pub(super) mapped: AtomicU64,
}

/// What an address inside a mapping leads to: the mapping's leaf, and where in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// Bytes from the start of the leaf.
    pub(super) offset: u64,
    /// Bytes from here to the end of the leaf, less one.
    pub(super) extent: u64,
}

impl Found {
    /// Finds `iova` in a leaf that covers `bits` address bits.
    #[inline]
    pub(super) const fn leaf(entry: Entry, iova: u64, bits: u32) -> Self {
        let span = (1 << bits) - 1;
        let offset = iova & span;
        Self { entry, offset, extent: span - offset }
    }
}

/// One range of a bucket, as the writer handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) last: u64,
    pub(super) entry: Entry,
    /// May be joined to what lies before it: same memory object, contiguous.
    pub(super) joins: bool,
}

impl Piece {
    /// Returns the part inside `start..=last`, which it overlaps.
    pub(super) fn clip(self, start: u64, last: u64) -> Self {
        if start <= self.start {
            return Self { last: self.last.min(last), ..self };
        }
        let entry = self.entry.advance(start - self.start);
        Self { start, last: self.last.min(last), entry, joins: true }
    }
}

fn allocate<T>() -> Result<Box<T>, Errno> {
    let layout = Layout::new::<T>();
    // SAFETY: the layout is not empty; all-zero bytes are a valid node, since it is made of atomic integers.
    unsafe {
        let node: *mut T = alloc_zeroed(layout).cast();
        if node.is_null() { Err(Errno::ENOMEM) } else { Ok(Box::from_raw(node)) }
    }
}

impl Table {
    /// Makes a table with nothing in it, which is linked nowhere.
    pub(super) const fn empty() -> Self {
        Self { slots: [const { AtomicU64::new(0) }; FANOUT], used: AtomicU32::new(0) }
    }

    /// Makes an empty table.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Box<Self>, Errno> {
        allocate()
    }

    #[inline]
    pub(super) fn slot(&self, index: usize) -> &AtomicU64 {
        &self.slots[index % FANOUT]
    }

    #[inline]
    pub(super) fn entry(&self, index: usize) -> Entry {
        Entry(self.slot(index).load(Ordering::Acquire))
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes that slots came into use, or (negative) went out of it.
    pub(super) fn add_used(&self, change: i32) {
        let used = self.used().wrapping_add_signed(change);
        self.used.store(used, Ordering::Relaxed);
    }
}

impl Bucket {
    /// Makes an empty bucket.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Box<Self>, Errno> {
        allocate()
    }

    /// Finds the range that contains `iova`.
    #[inline]
    pub(super) fn find(&self, iova: u64) -> Option<Found> {
        for range in &self.ranges {
            let entry = Entry(range.entry.load(Ordering::Acquire));
            if entry.is_empty() {
                return None;
            }
            let offset = iova.wrapping_sub(range.start.load(Ordering::Relaxed));
            let extent = range.extent.load(Ordering::Relaxed);
            if offset <= extent {
                return Some(Found { entry, offset, extent: extent - offset });
            }
        }
        None
    }

    /// Lists the ranges in the order they came; for the writer.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> {
        let piece = |range: &BucketRange| {
            let start = range.start.load(Ordering::Relaxed);
            let last = start + range.extent.load(Ordering::Relaxed);
            Piece { start, last, entry: Entry(range.entry.load(Ordering::Relaxed)), joins: false }
        };
        self.ranges.iter().map(piece).take_while(|piece| !piece.entry.is_empty())
    }

    /// Adds a range, or lets the one it continues grow; returns what it became, or nothing when it is full.
    pub(super) fn add(&self, piece: Piece) -> Option<Piece> {
        for range in &self.ranges {
            let entry = Entry(range.entry.load(Ordering::Relaxed));
            let start = range.start.load(Ordering::Relaxed);
            if entry.is_empty() {
                range.start.store(piece.start, Ordering::Relaxed);
                range.extent.store(piece.last - piece.start, Ordering::Relaxed);
                range.entry.store(piece.entry.0, Ordering::Release);
                return Some(piece);
            }
            let size = piece.start.wrapping_sub(start);
            let touches = range.extent.load(Ordering::Relaxed).wrapping_add(1) == size;
            if piece.joins && touches && entry.advance(size) == piece.entry {
                range.extent.store(piece.last - start, Ordering::Release);
                return Some(Piece { start, last: piece.last, entry, joins: false });
            }
        }
        None
    }
}

/// Turns a node into the address that an entry holds, and back.
pub(super) trait Node: Sized {
    /// Gives up the box; [`take`](Self::take) gets it back.
    fn into_address(self: Box<Self>) -> u64 {
        ptr::from_mut(Box::leak(self)).expose_provenance() as u64
    }

    /// Returns the node behind the address.
    ///
    /// # Safety
    /// `address` came from [`into_address`](Self::into_address) of this type, and the node is not freed while
    /// the reference lives: the caller is the writer, or inside an epoch since before it loaded the entry.
    #[inline]
    unsafe fn at<'a>(address: u64) -> &'a Self {
        // SAFETY: by the caller's promise, this is a live, leaked box.
        unsafe { &*ptr::with_exposed_provenance(address as usize) }
    }

    /// Takes the node back as a box.
    ///
    /// # Safety
    /// As for [`at`](Self::at), and it is unlinked, an epoch has passed, and nobody takes it a second time.
    unsafe fn take(address: u64) -> Box<Self> {
        // SAFETY: by the caller's promise, this is a leaked box that nobody else can reach.
        unsafe { Box::from_raw(ptr::with_exposed_provenance_mut(address as usize)) }
    }
}

impl Node for Table {}
impl Node for Bucket {}
impl Node for Detachable {}
