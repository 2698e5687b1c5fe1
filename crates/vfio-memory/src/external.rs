//! Memory that someone else owns: JavaScript buffers above all.
//!
//! The owner is asked for the pointer again at every use, since a buffer may be detached or shrunk between
//! two uses, and may only be reachable on the thread that made it.

// UNSAFETY: an implementer vouches for an address, which no type can check.
#![expect(unsafe_code, reason = "the trait hands out raw addresses")]

/// Answers where borrowed memory lies now.
///
/// # Safety
/// The range returned by [`resolve`](Self::resolve) must be valid for reads and writes until
/// [`leave`](Self::leave), provided that the calling thread runs no code of the owner (JavaScript) in between; and,
/// when [`stable`](Self::stable) is true, for the whole life of the source, at the same address, from any thread.
pub unsafe trait ExternalMemory: Send + Sync {
    /// Begins an access: returns the current address and length, or `None` when detached or asked on the
    /// wrong thread.
    fn resolve(&self) -> Option<(*mut u8, usize)>;

    /// Ends an access; called once for each answer of [`resolve`](Self::resolve), on the same thread.
    fn leave(&self) {}

    /// Tells whether the memory keeps its address and at least its first length for the whole life of the
    /// source, on every thread.
    fn stable(&self) -> bool;
}

/// Memory that is never there.
#[cfg(target_os = "linux")]
pub(crate) struct Nothing;

// SAFETY: no range is ever handed out.
#[cfg(target_os = "linux")]
unsafe impl ExternalMemory for Nothing {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        None
    }

    fn stable(&self) -> bool {
        false
    }
}
