//! What the system refuses with.

use rustix::io;
use vfio_uapi::Errno;

/// The errno of a refused system call.
pub(crate) fn errno(error: io::Errno) -> Errno {
    Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
}
