//! The user-space API of VFIO: constants, structures, ioctl numbers and errno, without logic.
#![forbid(unsafe_code)]

mod errno;

pub use errno::Errno;
