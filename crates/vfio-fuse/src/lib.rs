//! File systems in user space: the kernel's FUSE protocol, mounting, requests that may be answered later.
//!
//! A [`Session`] is one mounted file system. Its own thread takes requests from `/dev/fuse` and hands each to a
//! [`FileSystem`] as an owned [`Request`], which may be answered at once or later, on whatever thread. The protocol is spoken
//! here rather than by a library because a file of ours is a device: the argument of an ioctl reaches the file system as it
//! was passed, with the thread that passed it.
//!
//! Neighbours: `vfio-uapi` below for [`Errno`](vfio_uapi::Errno), `vfio-napi` above.

#![cfg(target_os = "linux")]

mod abi;
mod attributes;
mod backing;
mod channel;
mod decode;
mod errno;
mod guard;
mod herald;
mod listing;
mod mount;
mod mount_table;
mod notify;
mod operation;
mod request;
mod session;
#[cfg(test)]
mod tests;
mod thread;

pub use abi::{AttributeMask, OpenFlags};
pub use attributes::Attributes;
pub use herald::Change;
pub use listing::Listed;
pub use mount::{MountError, MountOptions, Target};
pub use notify::Notifier;
pub use operation::{Operation, SetAttributes};
pub use request::{Caller, Request};
pub use session::{FileSystem, Session};
pub use thread::this_thread;
