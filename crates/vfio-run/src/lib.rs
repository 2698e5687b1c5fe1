//! Runs a program of the operating system in a mount namespace of its own, and stands between it and the kernel where that has
//! to be.
//!
//! * [`Plan`]: the program, and what is mounted where before it starts.
//! * [`Run`]: the program under way. Three processes take part: this one, a guard, and the program. The guard makes the
//!   namespace, adopts whatever the program leaves behind, and kills it all when the program ends or this process dies,
//!   however that happens; then the namespace and its mounts are gone.
//! * [`Ioctls`]: those of a few ioctls that return descriptors stop in the kernel (seccomp user notification) until they are
//!   answered here, with descriptors put into the caller's table.
//! * [`Registers`]: memory of devices that has no pages behind it. An access is a `SIGBUS`, which the tracer (ptrace) sees before
//!   the program does: it decodes the instruction, has the access done, and lets the program go on after it.
//!
//! Only x86-64 Linux has all of it.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod child;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod errno;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod filter;
#[cfg(any(test, all(target_os = "linux", target_arch = "x86_64")))]
mod instruction;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ioctls;
mod plan;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod run;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use ioctls::{Ioctl, Ioctls};
pub use plan::{Action, Failure, Plan};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use run::{Ending, Run, device_of};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use tracer::Registers;
