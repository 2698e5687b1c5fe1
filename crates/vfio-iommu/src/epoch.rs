//! Epochs: how a writer learns that no reader is left who could hold what it took away.
//!
//! A reader [`enter`]s before it looks at a table and leaves when its copy is done; inside, it takes no lock
//! and calls no foreign code. A writer unlinks first, then [`synchronize`]s, then frees. The reader's side
//! must cost nothing, so on Linux the fence between "I am in" and "what is there" is asymmetric: readers only
//! hold the compiler back, and the writer makes every thread run a full fence (`membarrier(2)`). Elsewhere
//! readers run the fence themselves.
//!
//! * [`protocol`]: one slot and the rules; checked by a model of every interleaving.
//! * [`registry`]: the slots of this process, one per thread that ever read.
//! * [`barrier`]: the two halves of the fence.
//! * [`cell`]: a value that is looked at inside an epoch.
//!
//! The registry is one for the process: a slot names a thread, and waiting for the readers of another table
//! costs no more than the copy they are in. Rejected: a slot per table and thread (a lookup on each access),
//! reference counts in the table (two contended writes on each access), and epochs that only ever advance
//! when somebody looks (unmap has to wait for *now*).

mod barrier;
mod cell;
mod protocol;
mod registry;

/// The atomics that [`protocol`] is built on here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

pub use cell::EpochCell;
pub(crate) use registry::{Guard, enter, synchronize};

#[cfg(test)]
mod model;
