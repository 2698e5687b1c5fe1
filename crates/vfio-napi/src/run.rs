//! Programs of the operating system on a simulated machine.

mod events;
mod process;
mod program;

pub(crate) use process::of_process;
