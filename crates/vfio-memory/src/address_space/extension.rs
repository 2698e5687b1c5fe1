//! What other layers keep for a process, one object of each type.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::AddressSpace;

/// Objects that live as long as the address space, by type.
#[derive(Default)]
pub(super) struct Extensions(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extensions")
    }
}

impl AddressSpace {
    /// Returns the object of type `T` that belongs to this process, which `make` makes at first use.
    ///
    /// `make` runs with a lock held: it must not ask for an extension itself.
    pub fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.extensions.0.lock();
        if let Some(found) = known.iter().find_map(|object| Arc::clone(object).downcast::<T>().ok()) {
            return found;
        }
        let made = Arc::new(make());
        known.push(Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }
}
