//! Raw calls on event counters.

use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"eventFdSignal", "event value", signal),
    Entry::new(c"eventFdAdd", "event value", add),
    Entry::wide(c"eventFdRead", "event", read),
    Entry::wide(c"eventFdCount", "event", count),
    Entry::new(c"eventFdPoll", "event", poll),
];

const POLLIN: u32 = 1;
const POLLOUT: u32 = 4;

fn signal(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.event_fd()?.signal(call.u64(1)?);
    Value::DONE
}

/// Takes the count; `EAGAIN` where there is none.
fn read(call: &Call) -> Answer {
    Ok(Value::U64(call.object(0)?.event_fd()?.read().ok_or(Errno::EAGAIN)?))
}

/// Adds, or refuses with `EAGAIN` what does not fit and with `EINVAL` what never does.
fn add(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.event_fd()?.add(call.u64(1)?)?;
    Value::DONE
}

/// Tells the count, which stays.
fn count(call: &Call) -> Answer {
    Ok(Value::U64(call.object(0)?.event_fd()?.count()?))
}

/// Tells what a read or a write of 1 would not be refused.
fn poll(call: &Call) -> Answer {
    let object = call.object(0)?;
    let event = object.event_fd()?;
    let mut ready = 0;
    if event.is_readable() {
        ready |= POLLIN;
    }
    if event.is_writable() {
        ready |= POLLOUT;
    }
    Ok(Value::U32(ready))
}
