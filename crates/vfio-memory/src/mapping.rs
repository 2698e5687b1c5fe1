//! Memory that this process allocates or maps itself, and gives back when dropped.

// UNSAFETY: mapping and unmapping pages, and handing their address out, is what this module is for.
#![expect(unsafe_code, reason = "owns raw mappings")]

#[cfg(any(not(unix), test))]
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

#[cfg(test)]
mod tests {
    use super::heap;

    #[test]
    fn the_heap_stands_in_where_there_are_no_mappings() {
        let mapping = heap::Mapping::anonymous(3 * 4096).unwrap();
        assert_eq!(mapping.ptr().addr() % 4096, 0);
        // SAFETY: three zeroed pages that nobody else knows.
        assert_eq!(unsafe { mapping.ptr().add(3 * 4096 - 1).read() }, 0);
        assert!(heap::Mapping::anonymous(usize::MAX - 4095).is_err());
    }
}
