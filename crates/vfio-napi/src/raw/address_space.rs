//! Raw calls on address spaces: `copy_from_user` and `copy_to_user`.

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"addressSpaceRead", "mm address into", read),
    Entry::new(c"addressSpaceWrite", "mm address from", write),
];

fn read(call: &Call) -> Answer {
    let (object, address) = (call.object(0)?, call.u64(1)?);
    let mm = object.address_space()?;
    call.bytes(2)?.with_mut(|into| mm.read(address, into))?;
    Value::DONE
}

fn write(call: &Call) -> Answer {
    let (object, address) = (call.object(0)?, call.u64(1)?);
    let mm = object.address_space()?;
    call.bytes(2)?.with(|from| mm.write(address, from))?;
    Value::DONE
}
