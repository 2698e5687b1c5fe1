//! What was unlinked and waits for readers to leave.

// UNSAFETY: frees nodes that only an epoch proves unreachable.
#![expect(unsafe_code, reason = "frees unlinked nodes")]

use vfio_memory::Memory;

use super::node::{Bucket, Detachable, Node, Table};

/// Names an unlinked node by its address.
pub(super) enum Retired {
    Table(u64),
    Bucket(u64),
    Detachable(u64),
}

/// Collects unlinked nodes, and memory that is mapped no longer. Dropping it leaks; [`free`](Self::free) it.
#[derive(Default)]
pub(super) struct Garbage {
    nodes: Vec<Retired>,
    memory: Vec<Memory>,
}

impl Garbage {
    pub(super) fn retire(&mut self, node: Retired) {
        self.nodes.push(node);
    }

    /// Returns where memory goes that is mapped no longer.
    pub(super) fn memory(&mut self) -> &mut Vec<Memory> {
        &mut self.memory
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the bytes of tables and buckets in it.
    pub(super) fn bytes(&self) -> usize {
        let size = |node: &Retired| match node {
            Retired::Table(_) => size_of::<Table>(),
            Retired::Bucket(_) => size_of::<Bucket>(),
            Retired::Detachable(_) => 0,
        };
        self.nodes.iter().map(size).sum()
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.nodes.append(&mut other.nodes);
        self.memory.append(&mut other.memory);
    }

    /// Frees everything; the last handle to some memory may go with it, so no lock should be held.
    ///
    /// # Safety
    /// Every reader that was inside when the last of this was unlinked has left.
    pub(super) unsafe fn free(self) {
        for node in self.nodes {
            // SAFETY: unlinked, retired once, and unreachable by the caller's promise.
            unsafe {
                match node {
                    Retired::Table(address) => drop(Table::take(address)),
                    Retired::Bucket(address) => drop(Bucket::take(address)),
                    Retired::Detachable(address) => drop(Detachable::take(address)),
                }
            }
        }
    }
}
