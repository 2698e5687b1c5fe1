//! Raw calls on memory: copies, typed accesses, atomics.

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"memoryRead", "memory offset into", read),
    Entry::new(c"memoryWrite", "memory offset from", write),
    Entry::new(c"memoryFill", "memory offset length value", fill),
    Entry::new(c"memoryCopy", "memory offset target targetOffset length", copy),
    Entry::new(c"memoryReadU8", "memory offset", read_u8),
    Entry::new(c"memoryReadU16", "memory offset", read_u16),
    Entry::new(c"memoryReadU32", "memory offset", read_u32),
    Entry::wide(c"memoryReadU64", "memory offset", read_u64),
    Entry::new(c"memoryWriteU8", "memory offset value", write_u8),
    Entry::new(c"memoryWriteU16", "memory offset value", write_u16),
    Entry::new(c"memoryWriteU32", "memory offset value", write_u32),
    Entry::new(c"memoryWriteU64", "memory offset value", write_u64),
    Entry::new(c"memoryCompareExchange32", "memory offset expected desired", compare_exchange_32),
    Entry::wide(c"memoryCompareExchange64", "memory offset expected desired", compare_exchange_64),
    Entry::new(c"memoryFetchAdd32", "memory offset value", fetch_add_32),
    Entry::wide(c"memoryFetchAdd64", "memory offset value", fetch_add_64),
];

fn read(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let memory = object.memory()?;
    call.bytes(2)?.with_mut(|into| memory.read(offset, into))?;
    Value::DONE
}

fn write(call: &Call) -> Answer {
    let (object, offset) = (call.object(0)?, call.u64(1)?);
    let memory = object.memory()?;
    call.bytes(2)?.with(|from| memory.write(offset, from))?;
    Value::DONE
}

fn fill(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, length, value) = (call.u64(1)?, call.u64(2)?, call.u32(3)?);
    object.memory()?.fill(offset, value as u8, length)?;
    Value::DONE
}

fn copy(call: &Call) -> Answer {
    let (source, target) = (call.object(0)?, call.object(2)?);
    let (offset, target_offset, length) = (call.u64(1)?, call.u64(3)?, call.u64(4)?);
    source.memory()?.copy_to(offset, target.memory()?, target_offset, length)?;
    Value::DONE
}

fn read_u8(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u8(call.u64(1)?)?;
    Ok(Value::U32(value.into()))
}

fn read_u16(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u16(call.u64(1)?)?;
    Ok(Value::U32(u16::from_le(value).into()))
}

fn read_u32(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u32(call.u64(1)?)?;
    Ok(Value::U32(u32::from_le(value)))
}

fn read_u64(call: &Call) -> Answer {
    let value = call.object(0)?.memory()?.load_u64(call.u64(1)?)?;
    Ok(Value::U64(u64::from_le(value)))
}

fn write_u8(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u8(call.u64(1)?, call.u8(2)?)?;
    Value::DONE
}

fn write_u16(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u16(call.u64(1)?, call.u16(2)?.to_le())?;
    Value::DONE
}

fn write_u32(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u32(call.u64(1)?, call.u32(2)?.to_le())?;
    Value::DONE
}

fn write_u64(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.memory()?.store_u64(call.u64(1)?, call.u64(2)?.to_le())?;
    Value::DONE
}

fn compare_exchange_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, expected, desired) = (call.u64(1)?, call.u32(2)?, call.u32(3)?);
    let seen = object.memory()?.compare_exchange_u32(offset, expected.to_le(), desired.to_le())?;
    Ok(Value::U32(u32::from_le(seen)))
}

fn compare_exchange_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (offset, expected, desired) = (call.u64(1)?, call.u64(2)?, call.u64(3)?);
    let seen = object.memory()?.compare_exchange_u64(offset, expected.to_le(), desired.to_le())?;
    Ok(Value::U64(u64::from_le(seen)))
}

fn fetch_add_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U32(object.memory()?.fetch_add_u32(call.u64(1)?, call.u32(2)?)?))
}

fn fetch_add_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U64(object.memory()?.fetch_add_u64(call.u64(1)?, call.u64(2)?)?))
}
