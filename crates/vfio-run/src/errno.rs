//! What the last call was refused with.

use vfio_uapi::Errno;

pub(crate) fn last() -> Errno {
    code(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

pub(crate) fn code(number: i32) -> Errno {
    Errno::from_code(number).unwrap_or(Errno::EIO)
}
