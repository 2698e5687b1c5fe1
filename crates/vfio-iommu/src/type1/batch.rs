//! Many requests in one call.

use vfio_uapi::Errno;

/// Reports how far a batch got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Requests that succeeded, all at the start of the batch.
    pub done: usize,
    /// Why the next one was refused, if one was.
    pub refused: Option<Errno>,
}

impl Batch {
    /// Runs requests in order until one is refused.
    pub(super) fn run<T>(
        requests: impl IntoIterator<Item = T>,
        mut run: impl FnMut(T) -> Result<(), Errno>,
    ) -> Self {
        let mut done = 0;
        for request in requests {
            if let Err(errno) = run(request) {
                return Self { done, refused: Some(errno) };
            }
            done += 1;
        }
        Self { done, refused: None }
    }
}
