//! Where the entries of a table live: a tree whose nodes come with the first entry below them.
//!
//! The platform says how many bits each level decodes. A level of more than [`NODE_BITS`] is kept in several steps, so
//! that a window of terabytes costs nothing until it is used; what the hardware would have allocated is accounted
//! above. Entries are atomic, nodes are never taken away, so readers need no lock.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits that one node decodes at most.
const NODE_BITS: u32 = 10;

/// Keeps entries by number, each with the user address that it was made from.
#[derive(Debug)]
pub(super) struct Radix {
    /// Bits that each step decodes, from the top.
    steps: Vec<u32>,
    root: OnceLock<Node>,
    with_users: bool,
}

#[derive(Debug)]
enum Node {
    Table(Box<[OnceLock<Node>]>),
    Leaf(Leaf),
}

/// Neighbouring entries.
#[derive(Debug)]
pub(super) struct Leaf {
    entries: Box<[AtomicU64]>,
    /// User addresses, big endian; none where the table keeps none.
    users: Box<[AtomicU64]>,
}

impl Radix {
    /// Starts with no entry; `levels` are the bits that each level decodes, from the top.
    pub(super) fn new(levels: &[u32], with_users: bool) -> Self {
        let mut steps = Vec::new();
        for &level in levels {
            let mut left = level;
            while left > 0 {
                let step = left.min(NODE_BITS);
                steps.push(step);
                left -= step;
            }
        }
        if steps.is_empty() {
            steps.push(0);
        }
        Self { steps, root: OnceLock::new(), with_users }
    }

    /// Returns how many entries there may be.
    pub(super) fn capacity(&self) -> u64 {
        1_u64.checked_shl(self.steps.iter().sum()).unwrap_or(u64::MAX)
    }

    /// Returns the entry numbered `index`, as stored; zero where there is none.
    #[inline]
    pub(super) fn load(&self, index: u64) -> u64 {
        let Some(mut node) = self.root.get() else { return 0 };
        let mut shift: u32 = self.steps.iter().sum();
        for step in &self.steps {
            shift -= step;
            let slot = (index >> shift) as usize & ((1 << step) - 1);
            match node {
                Node::Leaf(leaf) => return leaf.entries[slot].load(Ordering::Acquire),
                Node::Table(slots) => match slots[slot].get() {
                    Some(below) => node = below,
                    None => return 0,
                },
            }
        }
        0
    }

    /// Visits the entries `first..first + count` leaf by leaf, making leaves: the leaf, its slots, and how many
    /// entries of the range come before.
    pub(super) fn visit_or_make(
        &self,
        first: u64,
        count: u64,
        mut visit: impl FnMut(&Leaf, Range<usize>, u64),
    ) {
        let mut done = 0;
        while done < count {
            let (leaf, slots) = self.leaf_or_make(first + done, count - done);
            let len = slots.len() as u64;
            visit(leaf, slots, done);
            done += len;
        }
    }

    /// Visits those entries of `first..first + count` that have a leaf.
    pub(super) fn visit(&self, first: u64, count: u64, visit: &mut impl FnMut(&Leaf, Range<usize>)) {
        let Some(root) = self.root.get() else { return };
        if count > 0 {
            self.descend(root, 0, 0, first, first + (count - 1), visit);
        }
    }

    fn descend(
        &self,
        node: &Node,
        depth: usize,
        base: u64,
        first: u64,
        last: u64,
        visit: &mut impl FnMut(&Leaf, Range<usize>),
    ) {
        let below: u32 = self.steps[depth + 1..].iter().sum();
        let span = |at: u64| (at.saturating_sub(base) >> below) as usize;
        match node {
            Node::Leaf(leaf) => {
                let end = span(last).min(leaf.entries.len() - 1) + 1;
                visit(leaf, span(first)..end);
            }
            Node::Table(slots) => {
                let range = span(first)..span(last).min(slots.len() - 1) + 1;
                for slot in range {
                    let Some(child) = slots[slot].get() else { continue };
                    self.descend(child, depth + 1, base + ((slot as u64) << below), first, last, visit);
                }
            }
        }
    }

    /// Finds the entry next to `index` for which `wanted` holds: at or before it, or behind it.
    pub(super) fn nearest(&self, index: u64, behind: bool, wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.seek(self.root.get()?, 0, 0, index, behind, &wanted)
    }

    fn seek(
        &self,
        node: &Node,
        depth: usize,
        base: u64,
        index: u64,
        behind: bool,
        wanted: &impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let below: u32 = self.steps[depth + 1..].iter().sum();
        let at = |slot: usize| base + ((slot as u64) << below);
        let look = |slot: usize| match node {
            Node::Leaf(leaf) => {
                let fits = if behind { at(slot) > index } else { at(slot) <= index };
                (fits && wanted(leaf.entries[slot].load(Ordering::Acquire))).then(|| at(slot))
            }
            Node::Table(slots) => {
                let child = slots[slot].get()?;
                self.seek(child, depth + 1, at(slot), index, behind, wanted)
            }
        };
        let len = 1_usize << self.steps[depth];
        let mid = usize::try_from(index.saturating_sub(base) >> below).unwrap_or(len).min(len - 1);
        if behind { (mid..len).find_map(look) } else { (0..=mid).rev().find_map(look) }
    }

    fn leaf_or_make(&self, index: u64, count: u64) -> (&Leaf, Range<usize>) {
        let mut shift: u32 = self.steps.iter().sum();
        let mut node = self.root.get_or_init(|| self.make(0));
        for (depth, step) in self.steps.iter().enumerate() {
            shift -= step;
            let slot = (index >> shift) as usize & ((1 << step) - 1);
            match node {
                Node::Leaf(leaf) => {
                    let end = count.min((leaf.entries.len() - slot) as u64) as usize + slot;
                    return (leaf, slot..end);
                }
                Node::Table(slots) => node = slots[slot].get_or_init(|| self.make(depth + 1)),
            }
        }
        unreachable!("the last step leads to a leaf")
    }

    fn make(&self, depth: usize) -> Node {
        let len = 1_usize << self.steps[depth];
        if depth + 1 < self.steps.len() {
            return Node::Table((0..len).map(|_| OnceLock::new()).collect());
        }
        let zeroes = |len: usize| (0..len).map(|_| AtomicU64::new(0)).collect();
        Node::Leaf(Leaf { entries: zeroes(len), users: zeroes(if self.with_users { len } else { 0 }) })
    }
}

impl Leaf {
    /// Stores an entry and returns the one before.
    #[inline]
    pub(super) fn exchange(&self, slot: usize, stored: u64) -> u64 {
        self.entries[slot].swap(stored, Ordering::AcqRel)
    }

    /// Stores an entry with its user address and returns those before, for writers that take turns: readers look at
    /// entries only.
    #[inline]
    pub(super) fn replace(&self, slot: usize, stored: u64, address: u64) -> (u64, u64) {
        let (entry, user) = (&self.entries[slot], &self.users[slot]);
        let old = (entry.load(Ordering::Relaxed), u64::from_be(user.load(Ordering::Relaxed)));
        user.store(address.to_be(), Ordering::Relaxed);
        entry.store(stored, Ordering::Release);
        old
    }
}
