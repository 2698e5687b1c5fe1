//! The user-space API of VFIO: constants, structures, ioctl numbers and errno, without logic.
