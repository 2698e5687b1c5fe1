//! User pages, address spaces and locked-memory accounting; the home of unsafe memory access.
//!
//! * [`Memory`]: bytes that a program can map and a device can reach: anonymous pages, a memfd, a mapped
//!   descriptor, or a buffer that someone else owns ([`ExternalMemory`]).
//! * [`AddressSpace`]: one process: its areas, its `copy_from_user` and `get_user_pages`, its
//!   [`LockedMemory`]. A virtual address is looked up there, never dereferenced.
//! * `Process` (Linux): a process of the operating system, whose memory an address space can stand for.
//! * [`copy`]: raw copies for memory that others may change at the same moment.
//!
//! Neighbours: `vfio-uapi` below (for [`Errno`](vfio_uapi::Errno)), `vfio-iommu` above.

mod address_space;
pub mod copy;
mod external;
mod locked;
mod mapping;
mod memory;
#[cfg(target_os = "linux")]
mod process;
mod prot;
mod span;
mod vma;

pub use address_space::{AddressSpace, Backing, TASK_SIZE, VmaInfo};
pub use external::ExternalMemory;
pub use locked::{Limits, LockedMemory};
pub use memory::Memory;
#[cfg(target_os = "linux")]
pub use process::Process;
pub use prot::Prot;
pub use span::{HostSpan, PinError};

/// Size in bytes of a page of the simulated machine, where its settings do not say otherwise.
pub const PAGE_SIZE: u64 = 4096;
/// Base-two logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

#[cfg(test)]
mod tests;
