//! Real addresses: where the pinned memory of a process lies, as entries count it.
//!
//! A memory object gets an address when the first of its pages is pinned and keeps it until the last is let go, so
//! entries that lead to it stay true. Addresses are aligned to the size of the object, up to a gigabyte: a huge page is
//! aligned wherever it lies. None is given twice.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use parking_lot::Mutex;
use vfio_memory::{HostSpan, Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use crate::{IoPageTable, IovaRange};

/// The first address that is given: zero is nobody's.
const FIRST: u64 = 1 << 30;
/// The largest alignment of an object.
const ALIGN_MAX: u64 = 1 << 30;
/// The smallest one: the largest system page.
const ALIGN_MIN: u64 = 1 << 16;
/// Where addresses end: an entry's page number has room for no more.
const END: u64 = 1 << 60;

/// Gives pinned memory its real addresses, and leads from these to the bytes.
pub struct RealMemory {
    table: IoPageTable,
    objects: Mutex<Objects>,
}

struct Objects {
    bases: HashMap<usize, u64>,
    by_base: BTreeMap<u64, Object>,
    next: u64,
}

struct Object {
    memory: Memory,
    len: u64,
    pins: u64,
}

impl Default for RealMemory {
    fn default() -> Self {
        let objects = Objects { bases: HashMap::new(), by_base: BTreeMap::new(), next: FIRST };
        Self { table: IoPageTable::new(), objects: Mutex::new(objects) }
    }
}

impl RealMemory {
    /// Pins the object that `span` lies in, `pins` times, and returns the real address of the span.
    ///
    /// # Errors
    /// `EFAULT` the memory is gone; `ENOMEM` no address or no room for one.
    pub(super) fn pin(&self, span: &HostSpan, pins: u64) -> Result<u64, Errno> {
        let mut objects = self.objects.lock();
        let id = span.memory.object_id();
        if let Some(base) = objects.bases.get(&id).copied() {
            if let Some(object) = objects.by_base.get_mut(&base) {
                object.pins += pins;
            }
            return Ok(base + span.offset);
        }
        // Memory that ends within a page has no whole page there.
        let len = span.memory.len() & !(PAGE_SIZE - 1);
        let align = len.checked_next_power_of_two().ok_or(Errno::ENOMEM)?.clamp(ALIGN_MIN, ALIGN_MAX);
        let base = objects.next.next_multiple_of(align);
        let end = base.checked_add(len).filter(|end| *end <= END).ok_or(Errno::ENOMEM)?;
        let range = IovaRange::sized(base, len).ok_or(Errno::EFAULT)?;
        self.table.map(range, &span.memory, 0, Prot::RW)?;
        objects.next = end;
        objects.bases.insert(id, base);
        objects.by_base.insert(base, Object { memory: span.memory.clone(), len, pins });
        Ok(base + span.offset)
    }

    /// Takes pins off the object at a real address. With the last one its address is given up, and no device can
    /// reach it any more when this returns.
    pub(super) fn unpin(&self, real: u64, pins: u64) {
        let gone = {
            let mut objects = self.objects.lock();
            let Some((&base, object)) = objects.by_base.range_mut(..=real).next_back() else { return };
            object.pins = object.pins.saturating_sub(pins);
            if object.pins > 0 {
                return;
            }
            let gone = objects.by_base.remove(&base);
            if let Some(object) = &gone {
                objects.bases.remove(&object.memory.object_id());
                if let Some(range) = IovaRange::sized(base, object.len) {
                    let _ = self.table.unmap(range);
                }
            }
            gone
        };
        drop(gone); // outside the lock: giving memory back may take long
    }

    /// Returns the table from real addresses to memory.
    pub(super) fn table(&self) -> &IoPageTable {
        &self.table
    }

    /// Returns how many memory objects are pinned.
    #[must_use]
    pub fn pinned_objects(&self) -> usize {
        self.objects.lock().by_base.len()
    }
}

impl fmt::Debug for RealMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealMemory").field("objects", &self.pinned_objects()).finish_non_exhaustive()
    }
}
