//! vfio-user: devices of this process behind a socket, and devices of other processes.
//!
//! A device that is emulated in JavaScript is called through a [`mailbox`]: threads of the server put requests in,
//! JavaScript takes them out at a turn of its loop and answers when it likes. Nothing waits on the JavaScript thread.

mod description;
mod layout;
mod local;
mod mailbox;
mod remote;
mod served_device;
mod served_layout;
mod server;
