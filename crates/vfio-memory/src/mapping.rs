//! Memory that this process allocates or maps itself, and gives back when dropped.

// UNSAFETY: mapping and unmapping pages, and handing their address out, is what this module is for.
#![expect(unsafe_code, reason = "owns raw mappings")]

#[cfg(not(unix))]
mod heap;
#[cfg(unix)]
mod pages;

#[cfg(not(unix))]
pub(crate) use heap::Mapping;
#[cfg(unix)]
pub(crate) use pages::Mapping;

// SAFETY: a mapping is plain bytes at a fixed address; whoever reaches them does so through `copy`.
unsafe impl Send for Mapping {}
// SAFETY: as above; the owner itself has no state that changes after construction.
unsafe impl Sync for Mapping {}
