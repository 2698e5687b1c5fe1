//! Raw calls on memory: copies, typed accesses, atomics.

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"memoryRead", read),
    Entry::new(c"memoryWrite", write),
    Entry::new(c"memoryFill", fill),
    Entry::new(c"memoryCopy", copy),
    Entry::new(c"memoryReadU8", |call| Ok(Value::U32(call.object(0)?.memory()?.load_u8(call.u64(1)?)?.into()))),
    Entry::new(c"memoryReadU16", read_u16),
    Entry::new(c"memoryReadU32", read_u32),
    Entry::wide(c"memoryReadU64", read_u64),
    Entry::new(c"memoryWriteU8", write_u8),
    Entry::new(c"memoryWriteU16", write_u16),
    Entry::new(c"memoryWriteU32", write_u32),
    Entry::new(c"memoryWriteU64", write_u64),
    Entry::new(c"memoryCompareExchange32", compare_exchange_32),
    Entry::wide(c"memoryCompareExchange64", compare_exchange_64),
    Entry::new(c"memoryFetchAdd32", fetch_add_32),
    Entry::wide(c"memoryFetchAdd64", fetch_add_64),
];

/// (memory, offset, into)
fn read(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let memory = object.memory()?;
    call.bytes(2)?.with_mut(|into| memory.read(offset, into))?;
    Value::DONE
}

/// (memory, offset, from)
fn write(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let memory = object.memory()?;
    call.bytes(2)?.with(|from| memory.write(offset, from))?;
    Value::DONE
}

/// (memory, offset, length, value)
fn fill(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, length, value) = (call.u64(1)?, call.u64(2)?, call.u32(3)?);
    object.memory()?.fill(offset, value as u8, length)?;
    Value::DONE
}

/// (memory, offset, target, targetOffset, length)
fn copy(call: &Call) -> Answer {
    let (source, target) = (call.object(0)?, call.object(2)?);
    let (offset, target_offset, length) = (call.u64(1)?, call.u64(3)?, call.u64(4)?);
    source.memory()?.copy_to(offset, target.memory()?, target_offset, length)?;
    Value::DONE
}

/// (memory, offset)
fn read_u16(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u16(call.u64(1)?)?;
    Ok(Value::U32(u16::from_le(value).into()))
}

/// (memory, offset)
fn read_u32(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u32(call.u64(1)?)?;
    Ok(Value::U32(u32::from_le(value)))
}

/// (memory, offset)
fn read_u64(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u64(call.u64(1)?)?;
    Ok(Value::U64(u64::from_le(value)))
}

/// (memory, offset, value)
fn write_u8(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u8(call.u64(1)?, call.u8(2)?)?;
    Value::DONE
}

/// (memory, offset, value)
fn write_u16(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u16(call.u64(1)?, call.u16(2)?.to_le())?;
    Value::DONE
}

/// (memory, offset, value)
fn write_u32(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u32(call.u64(1)?, call.u32(2)?.to_le())?;
    Value::DONE
}

/// (memory, offset, value)
fn write_u64(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u64(call.u64(1)?, call.u64(2)?.to_le())?;
    Value::DONE
}

/// (memory, offset, expected, desired)
fn compare_exchange_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, expected, desired) = (call.u64(1)?, call.u32(2)?, call.u32(3)?);
    Ok(Value::U32(object.memory()?.compare_exchange_u32(offset, expected, desired)?))
}

/// (memory, offset, expected, desired)
fn compare_exchange_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, expected, desired) = (call.u64(1)?, call.u64(2)?, call.u64(3)?);
    Ok(Value::U64(object.memory()?.compare_exchange_u64(offset, expected, desired)?))
}

/// (memory, offset, value)
fn fetch_add_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U32(object.memory()?.fetch_add_u32(call.u64(1)?, call.u32(2)?)?))
}

/// (memory, offset, value)
fn fetch_add_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U64(object.memory()?.fetch_add_u64(call.u64(1)?, call.u64(2)?)?))
}
