//! Raw calls on a device's view of memory.

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"dmaRead", "dma iova into", read),
    Entry::new(c"dmaWrite", "dma iova from", write),
    Entry::new(c"dmaFill", "dma iova length value", fill),
    Entry::new(c"dmaReadU8", "dma iova", read_u8),
    Entry::new(c"dmaReadU16", "dma iova", read_u16),
    Entry::new(c"dmaReadU32", "dma iova", read_u32),
    Entry::wide(c"dmaReadU64", "dma iova", read_u64),
    Entry::new(c"dmaWriteU8", "dma iova value", write_u8),
    Entry::new(c"dmaWriteU16", "dma iova value", write_u16),
    Entry::new(c"dmaWriteU32", "dma iova value", write_u32),
    Entry::new(c"dmaWriteU64", "dma iova value", write_u64),
    Entry::new(c"dmaCompareExchange32", "dma iova expected desired", compare_exchange_32),
    Entry::wide(c"dmaCompareExchange64", "dma iova expected desired", compare_exchange_64),
    Entry::new(c"dmaFetchAdd32", "dma iova value", fetch_add_32),
    Entry::wide(c"dmaFetchAdd64", "dma iova value", fetch_add_64),
    Entry::new(c"dmaPinPages", "dma iova pages access", pin_pages),
    Entry::new(c"dmaUnpinPages", "dma iova pages", unpin_pages),
];

fn read(call: &Call) -> Answer {
    let (object, iova) = (call.object(0)?, call.u64(1)?);
    let space = object.dma()?;
    call.bytes(2)?.with_mut(|into| space.read(iova, into))?;
    Value::DONE
}

fn write(call: &Call) -> Answer {
    let (object, iova) = (call.object(0)?, call.u64(1)?);
    let space = object.dma()?;
    call.bytes(2)?.with(|from| space.write(iova, from))?;
    Value::DONE
}

fn fill(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, length, value) = (call.u64(1)?, call.u64(2)?, call.u32(3)?);
    object.dma()?.fill(iova, value as u8, length)?;
    Value::DONE
}

fn word<const N: usize>(call: &Call) -> Result<[u8; N], super::Refusal> {
    let mut bytes = [0; N];
    call.object(0)?.dma()?.read(call.u64(1)?, &mut bytes)?;
    Ok(bytes)
}

fn read_u8(call: &Call) -> Answer {
    Ok(Value::U32(u8::from_le_bytes(word(call)?).into()))
}

fn read_u16(call: &Call) -> Answer {
    Ok(Value::U32(u16::from_le_bytes(word(call)?).into()))
}

fn read_u32(call: &Call) -> Answer {
    Ok(Value::U32(u32::from_le_bytes(word(call)?)))
}

fn read_u64(call: &Call) -> Answer {
    Ok(Value::U64(u64::from_le_bytes(word(call)?)))
}

fn store(call: &Call, bytes: &[u8]) -> Answer {
    call.object(0)?.dma()?.write(call.u64(1)?, bytes)?;
    Value::DONE
}

fn write_u8(call: &Call) -> Answer {
    store(call, &[call.u8(2)?])
}

fn write_u16(call: &Call) -> Answer {
    store(call, &call.u16(2)?.to_le_bytes())
}

fn write_u32(call: &Call) -> Answer {
    store(call, &call.u32(2)?.to_le_bytes())
}

fn write_u64(call: &Call) -> Answer {
    store(call, &call.u64(2)?.to_le_bytes())
}

fn compare_exchange_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, expected, desired) = (call.u64(1)?, call.u32(2)?, call.u32(3)?);
    let seen = object.dma()?.compare_exchange_u32(iova, expected.to_le(), desired.to_le())?;
    Ok(Value::U32(u32::from_le(seen)))
}

fn compare_exchange_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, expected, desired) = (call.u64(1)?, call.u64(2)?, call.u64(3)?);
    let seen = object.dma()?.compare_exchange_u64(iova, expected.to_le(), desired.to_le())?;
    Ok(Value::U64(u64::from_le(seen)))
}

fn fetch_add_32(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U32(object.dma()?.fetch_add_u32(call.u64(1)?, call.u32(2)?)?))
}

fn fetch_add_64(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U64(object.dma()?.fetch_add_u64(call.u64(1)?, call.u64(2)?)?))
}

fn pin_pages(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, pages, prot) = (call.u64(1)?, call.u32(2)?, call.access(3)?);
    // The pins stay until they are taken back; the spans are for drivers in Rust.
    object.dma()?.pin_pages(iova, pages.into(), prot)?;
    Value::DONE
}

fn unpin_pages(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, pages) = (call.u64(1)?, call.u32(2)?);
    object.dma()?.unpin_pages(iova, pages.into());
    Value::DONE
}
