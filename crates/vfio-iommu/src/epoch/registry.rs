//! The slots of this process: one per thread that ever read, kept in a list that only grows.
//!
//! A thread that ends gives its slot to the next one, so there are as many as ever were alive together.

// UNSAFETY: slots are leaked on purpose and reached through a list of raw pointers.
#![expect(unsafe_code, reason = "walks a list of leaked slots")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering, fence};
use std::time::Duration;

use super::barrier;
use super::protocol::Slot;

/// A thread's place in the list. Neighbours in memory belong to other threads, so each has its own lines.
#[repr(align(128))]
struct Seat {
    slot: Slot,
    /// Guards the thread holds beyond the first; its own note.
    nested: Cell<u32>,
    next: *const Seat,
}

// SAFETY: `next` is written before the seat is published and never after; `nested` is used by the thread that
// took the seat only; the rest is atomic.
unsafe impl Sync for Seat {}

static SEATS: AtomicPtr<Seat> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// The thread's seat, null before its first read. Without a destructor, so reaching it is one load.
    static SEAT: Cell<Option<&'static Seat>> = const { Cell::new(None) };
    /// Gives the seat back when the thread ends.
    static TENANT: Tenant = const { Tenant };
}

struct Tenant;

impl Drop for Tenant {
    fn drop(&mut self) {
        if let Some(seat) = SEAT.take() {
            // A guard that outlives the thread's locals keeps the seat for good.
            if seat.slot.turn().is_multiple_of(2) {
                seat.slot.give_back();
            }
        }
    }
}

/// Keeps the calling thread inside; while one exists, nothing the thread can see in a table is freed.
pub(crate) struct Guard {
    seat: &'static Seat,
    /// The odd turn of the slot.
    inside: u64,
    /// The seat belongs to the thread.
    _thread: PhantomData<*const ()>,
}

/// Steps in. Guards nest, and may be dropped in any order: the last one steps out.
#[inline]
pub(crate) fn enter() -> Guard {
    let seat = match SEAT.get() {
        Some(seat) => seat,
        None => sit_down(),
    };
    let turn = seat.slot.turn();
    if turn % 2 == 1 {
        seat.nested.set(seat.nested.get() + 1);
        return Guard { seat, inside: turn, _thread: PhantomData };
    }
    let inside = seat.slot.step_in(turn);
    barrier::light();
    Guard { seat, inside, _thread: PhantomData }
}

/// Finds the thread's seat at its first read.
#[cold]
fn sit_down() -> &'static Seat {
    barrier::prepare();
    let seat = take_seat();
    SEAT.set(Some(seat));
    // A thread that reads while its thread-locals are being destroyed keeps the seat for good.
    let _ = TENANT.try_with(|_| ());
    seat
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        match self.seat.nested.get() {
            0 => self.seat.slot.step_out(self.inside),
            more => self.seat.nested.set(more - 1),
        }
    }
}

/// Waits until no other thread is left inside that came in before the call.
///
/// Returns false when the calling thread is inside itself: it cannot wait for that, so what it unlinked must
/// not be freed yet, though nobody else can reach it any more.
pub(crate) fn synchronize() -> bool {
    let own = SEAT.get();
    let is_own = |seat: &Seat| own.is_some_and(|own| ptr::eq(own, seat));
    let others = || seats().filter(|seat| !is_own(seat) && seat.slot.is_taken());
    // Pairs with the fence in `Slot::take`: a thread whose seat we find free sees what we unlinked.
    fence(Ordering::SeqCst);
    if others().next().is_some() {
        barrier::heavy();
        others().for_each(|seat| seat.slot.wait_out(pause));
    }
    own.is_none_or(|own| own.slot.turn().is_multiple_of(2))
}

/// Spins first, since a copy is short, then lets the reader have the processor.
fn pause(round: u32) {
    match round {
        0..64 => std::hint::spin_loop(),
        64..256 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
}

fn seats() -> impl Iterator<Item = &'static Seat> {
    let mut at = SEATS.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: seats in the list are leaked, so valid for ever, and complete before they are published.
        let seat = unsafe { at.as_ref() }?;
        at = seat.next;
        Some(seat)
    })
}

/// Takes a free seat, or adds one.
fn take_seat() -> &'static Seat {
    seats().find(|seat| seat.slot.take()).unwrap_or_else(add_seat)
}

fn add_seat() -> &'static Seat {
    let slot = Slot::new();
    let mut head = SEATS.load(Ordering::Acquire);
    let seat = Box::into_raw(Box::new(Seat { slot, nested: Cell::new(0), next: head }));
    // SAFETY: just made and never freed; not published yet, so `next` is ours alone to change.
    unsafe {
        (*seat).slot.take();
        while let Err(seen) = SEATS.compare_exchange_weak(head, seat, Ordering::AcqRel, Ordering::Acquire) {
            head = seen;
            (*seat).next = head;
        }
        // As in `Slot::take`, for a writer that did not find the seat at all.
        fence(Ordering::SeqCst);
        &*seat
    }
}
