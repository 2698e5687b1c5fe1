//! Which sockets lead to devices that a JavaScript thread of this process emulates: that thread must not wait for them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// Device and inode of a socket file, and the thread.
type Entry = ((u64, u64), ThreadId);

static SERVED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Notes, until dropped, that the device behind a socket is emulated by a thread.
pub(super) struct Local(Entry);

impl Local {
    /// Notes it for the socket file at `path`.
    pub(super) fn new(path: &Path, thread: ThreadId) -> Option<Self> {
        let entry = (identity(path)?, thread);
        SERVED.lock().push(entry);
        Some(Self(entry))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let mut served = SERVED.lock();
        if let Some(at) = served.iter().position(|entry| *entry == self.0) {
            served.swap_remove(at);
        }
    }
}

/// Tells whether the device behind the socket file at `path` is emulated by this thread.
pub(super) fn is_served_here(path: &Path) -> bool {
    let here = thread::current().id();
    // Nothing is looked up where nobody serves, which is the rule.
    let mine: Vec<_> =
        SERVED.lock().iter().filter(|(_, thread)| *thread == here).map(|(id, _)| *id).collect();
    !mine.is_empty() && identity(path).is_some_and(|identity| mine.contains(&identity))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}
