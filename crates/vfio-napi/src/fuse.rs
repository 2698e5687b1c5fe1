//! FUSE sessions whose file system is JavaScript's.

mod inbox;
mod session;
mod told;
