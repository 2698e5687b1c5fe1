//! The protocol under every interleaving and every reordering that the memory model allows, by loom.
//!
//! The memory behind a mapping is a cell that loom watches: a writer that takes it back while a reader may
//! still look is reported as a race. The fence is the plain one here; `membarrier` is stronger.

#[expect(clippy::duplicate_mod, reason = "compiled with other atomics")]
#[path = "protocol.rs"]
mod protocol;

/// The atomics that explore.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use protocol::Slot;
use sync::{AtomicU64, Ordering, fence};

/// One entry of a table, the memory it leads to, and a slot for each reader.
struct World {
    entry: AtomicU64,
    memory: UnsafeCell<u64>,
    slots: Vec<Slot>,
}

// SAFETY: `memory` is only reached by the protocol under test, and loom reports when it fails.
#[expect(unsafe_code, reason = "the cell is shared on purpose")]
unsafe impl Sync for World {}

impl World {
    fn new(readers: usize) -> Arc<Self> {
        let slots = (0..readers).map(|_| Slot::new()).collect();
        Arc::new(Self { entry: AtomicU64::new(1), memory: UnsafeCell::new(7), slots })
    }

    fn read(&self, slot: &Slot) {
        let inside = slot.step_in(slot.turn());
        fence(Ordering::SeqCst);
        if self.entry.load(Ordering::Acquire) == 1 {
            self.memory.with(|_| ());
        }
        slot.step_out(inside);
    }

    fn unmap(&self) {
        self.entry.store(0, Ordering::Release);
        fence(Ordering::SeqCst);
        for slot in self.slots.iter().filter(|slot| slot.is_taken()) {
            slot.wait_out(|_| thread::yield_now());
        }
        self.memory.with_mut(|_| ());
    }
}

fn explore(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

#[test]
fn unmap_waits_for_readers_that_come_and_go() {
    explore(|| {
        let world = World::new(2);
        let readers: Vec<_> = (0..2)
            .map(|n| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    assert!(world.slots[n].take());
                    world.read(&world.slots[n]);
                    world.slots[n].give_back();
                })
            })
            .collect();
        world.unmap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn unmap_waits_for_a_reader_that_stays() {
    explore(|| {
        let world = World::new(1);
        let reader = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert!(world.slots[0].take());
                world.read(&world.slots[0]);
                world.read(&world.slots[0]);
            })
        };
        world.unmap();
        reader.join().unwrap();
    });
}

#[test]
fn two_threads_share_a_slot_one_after_the_other() {
    explore(|| {
        let world = World::new(1);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    if world.slots[0].take() {
                        world.read(&world.slots[0]);
                        world.slots[0].give_back();
                    }
                })
            })
            .collect();
        world.unmap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
