//! vfio-user on the wire: messages, version negotiation, transport, server and client.
//!
//! The protocol is that of the vfio-user specification 0.9.x as QEMU 11.1 and the crate `vfio_user` speak it: one
//! `AF_UNIX` stream socket a device, native byte order, file descriptors beside the first byte of a message.
//!
//! [`message`] holds the layouts and nothing else; [`version`] the negotiation; `socket` frames messages and
//! bounds what a peer may send.
#![forbid(unsafe_code)]

pub mod message;
pub mod version;

#[cfg(target_os = "linux")]
pub mod client;
#[cfg(target_os = "linux")]
mod guest_memory;
#[cfg(target_os = "linux")]
pub mod listener;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
pub mod server;
#[cfg(target_os = "linux")]
pub mod socket;
#[cfg(target_os = "linux")]
mod turnstile;
