//! Which thread this is, as the kernel says.

use rustix::thread::gettid;

/// Returns the id of this thread, as [`Caller::tid`](crate::Caller::tid) tells it.
#[must_use]
pub fn this_thread() -> u32 {
    gettid().as_raw_nonzero().get().cast_unsigned()
}
