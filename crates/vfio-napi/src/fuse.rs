//! FUSE sessions whose file system is JavaScript's.

mod identify;
mod inbox;
mod own;
mod session;
mod told;

#[cfg(target_arch = "x86_64")]
pub(crate) use identify::identify;
#[cfg(target_arch = "x86_64")]
pub(crate) use own::open_handle;
