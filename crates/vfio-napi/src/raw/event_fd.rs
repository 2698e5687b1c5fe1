//! Raw calls on event counters.

use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] =
    &[Entry::new(c"eventFdSignal", "event value", signal), Entry::wide(c"eventFdRead", "event", read)];

fn signal(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.event_fd()?.signal(call.u64(1)?);
    Value::DONE
}

/// Takes the count; `EAGAIN` where there is none.
fn read(call: &Call) -> Answer {
    Ok(Value::U64(call.object(0)?.event_fd()?.read().ok_or(Errno::EAGAIN)?))
}
