//! Small numbers that stand for native objects in raw calls.
//!
//! Each JavaScript thread has its own table. A number carries a generation, so that one kept too long means
//! nothing instead of something new; it fits a small integer of V8, which costs nothing to pass.

use std::cell::RefCell;
use std::rc::Rc;

use vfio_uapi::Errno;

use crate::object::Object;

const INDEX_BITS: u32 = 22;
const GENERATIONS: u32 = 1 << (30 - INDEX_BITS);

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { slots: Vec::new(), free: Vec::new() }) };
}

struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    object: Option<Rc<Object>>,
}

/// Keeps an object under a number of this thread; the number dies with it.
#[derive(Debug)]
pub(crate) struct Handle(u32);

impl Handle {
    /// Gives `object` a number.
    ///
    /// # Errors
    /// `EMFILE` all numbers are in use.
    pub(crate) fn new(object: Object) -> Result<Self, Errno> {
        let object = Some(Rc::new(object));
        TABLE.with_borrow_mut(|table| {
            if let Some(index) = table.free.pop() {
                let slot = &mut table.slots[index as usize];
                slot.object = object;
                return Ok(Self(slot.generation << INDEX_BITS | index));
            }
            let index = u32::try_from(table.slots.len()).map_err(|_| Errno::EMFILE)?;
            if index >> INDEX_BITS != 0 {
                return Err(Errno::EMFILE);
            }
            table.slots.push(Slot { generation: 1, object });
            Ok(Self(1 << INDEX_BITS | index))
        })
    }

    /// Returns the number, which is never zero.
    pub(crate) fn number(&self) -> u32 {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The thread may be ending, and its table gone already. The object is dropped outside the borrow:
        // letting it go may run code that uses the table.
        let object = TABLE.try_with(|table| {
            let mut table = table.borrow_mut();
            let index = self.0 & ((1 << INDEX_BITS) - 1);
            let slot = table.slots.get_mut(index as usize)?;
            slot.generation = slot.generation % (GENERATIONS - 1) + 1;
            let object = slot.object.take();
            table.free.push(index);
            object
        });
        drop(object);
    }
}

/// Looks a number up; the object stays alive while the answer does.
///
/// # Errors
/// `EBADF` the number means nothing.
#[inline]
pub(crate) fn get(number: u32) -> Result<Rc<Object>, Errno> {
    TABLE.with_borrow(|table| {
        let slot = table.slots.get((number & ((1 << INDEX_BITS) - 1)) as usize).ok_or(Errno::EBADF)?;
        if slot.generation != number >> INDEX_BITS {
            return Err(Errno::EBADF);
        }
        slot.object.clone().ok_or(Errno::EBADF)
    })
}
