//! A raw call that does nothing, to measure what a crossing costs.

use super::{Answer, Call, Entry, Value};

/// The calls of this file.
pub(super) const ENTRIES: &[Entry] = &[Entry::new(c"debugEcho", "value", echo)];

fn echo(call: &Call) -> Answer {
    Ok(Value::U32(call.u32(0)?))
}
