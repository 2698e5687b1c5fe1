//! Raw calls on a type1 IOMMU: mapping, unmapping, dirty pages.

use vfio_iommu::type1::{Batch, BitmapTarget, DirtyQuery, MapDma, UnmapDma, UserBitmap};
use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Refusal, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"type1MapDma", "type1 mm flags vaddr iova size", map),
    Entry::wide(c"type1UnmapDma", "type1 flags iova size", unmap),
    Entry::wide(c"type1UnmapDmaTo", "type1 flags iova size pageSize bitmapSize mm address", unmap_to_user),
    Entry::wide(c"type1UnmapDmaInto", "type1 flags iova size pageSize bitmapSize bitmap", unmap_into),
    Entry::new(c"type1MapDmaBatch", "type1 mm flags triples failure", map_batch),
    Entry::new(c"type1UnmapDmaBatch", "type1 flags pairs failure", unmap_batch),
    Entry::new(c"type1DirtyTo", "type1 iova size pageSize bitmapSize mm address", dirty_to_user),
    Entry::new(c"type1DirtyInto", "type1 iova size pageSize bitmapSize bitmap", dirty_into),
];

fn map(call: &Call) -> Answer {
    let (object, mm) = (call.object(0)?, call.object(1)?);
    let (flags, vaddr, iova, size) = (call.u32(2)?, call.u64(3)?, call.u64(4)?, call.u64(5)?);
    object.type1()?.map_dma(mm.address_space()?, &MapDma { flags, vaddr, iova, size })?;
    Value::DONE
}

fn unmap_request(call: &Call) -> Result<UnmapDma, Refusal> {
    Ok(UnmapDma { flags: call.u32(1)?, iova: call.u64(2)?, size: call.u64(3)? })
}

fn unmap(call: &Call) -> Answer {
    let object = call.object(0)?;
    Ok(Value::U64(object.type1()?.unmap_dma(&unmap_request(call)?, None)?))
}

/// Runs `work` with a bitmap in the memory of a process, whose page size is argument `at`.
fn with_user_bitmap<T>(
    call: &Call,
    at: usize,
    work: impl FnOnce(DirtyQuery<'_>) -> Result<T, Errno>,
) -> Result<T, Refusal> {
    let (page_size, size) = (call.u64(at)?, call.u64(at + 1)?);
    let (object, address) = (call.object(at + 2)?, call.u64(at + 3)?);
    let mut target = UserBitmap { mm: object.address_space()?, address };
    Ok(work(DirtyQuery { page_size, size, target: &mut target })?)
}

/// Runs `work` with a bitmap in a `Uint8Array`. JavaScript may run meanwhile, so it works on a copy.
fn with_bitmap<T>(
    call: &Call,
    at: usize,
    work: impl FnOnce(DirtyQuery<'_>) -> Result<T, Errno>,
) -> Result<T, Refusal> {
    let (page_size, size) = (call.u64(at)?, call.u64(at + 1)?);
    let mut bytes = call.bytes(at + 2)?.to_vec();
    let result = {
        let mut bytes: &mut [u8] = &mut bytes;
        let target: &mut dyn BitmapTarget = &mut bytes;
        work(DirtyQuery { page_size, size, target })
    };
    // Asked for again: the array may have been cut or taken away.
    call.bytes(at + 2)?.store(&bytes);
    Ok(result?)
}

fn unmap_to_user(call: &Call) -> Answer {
    let (object, request) = (call.object(0)?, unmap_request(call)?);
    let type1 = object.type1()?;
    with_user_bitmap(call, 4, |query| type1.unmap_dma(&request, Some(query))).map(Value::U64)
}

fn unmap_into(call: &Call) -> Answer {
    let (object, request) = (call.object(0)?, unmap_request(call)?);
    let type1 = object.type1()?;
    with_bitmap(call, 4, |query| type1.unmap_dma(&request, Some(query))).map(Value::U64)
}

/// Tells how far a batch got, and why no further.
fn batch_answer(call: &Call, batch: Batch, failure: usize) -> Answer {
    call.store_i32(failure, batch.refused.map_or(0, |errno| -errno.code()))?;
    Ok(Value::count(batch.done))
}

fn map_batch(call: &Call) -> Answer {
    let (object, mm) = (call.object(0)?, call.object(1)?);
    let (flags, triples) = (call.u32(2)?, call.u64s(3)?);
    let (type1, mm) = (object.type1()?, mm.address_space()?);
    call.store_i32(4, 0)?;
    if triples.len() % 3 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = |triple: &[u64]| MapDma { flags, vaddr: triple[0], iova: triple[1], size: triple[2] };
    batch_answer(call, type1.map_batch(mm, triples.chunks_exact(3).map(request)), 4)
}

fn unmap_batch(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (flags, mut pairs) = (call.u32(1)?, call.u64s(2)?);
    let type1 = object.type1()?;
    call.store_i32(3, 0)?;
    if pairs.len() % 2 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = |pair: &[u64]| UnmapDma { flags, iova: pair[0], size: pair[1] };
    let mut requests: Vec<UnmapDma> = pairs.chunks_exact(2).map(request).collect();
    let batch = type1.unmap_batch(&mut requests);
    for (pair, request) in pairs.chunks_exact_mut(2).zip(&requests).take(batch.done) {
        pair[1] = request.size;
    }
    call.store_u64s(2, &pairs)?;
    batch_answer(call, batch, 3)
}

fn dirty_to_user(call: &Call) -> Answer {
    let (object, iova, size) = (call.object(0)?, call.u64(1)?, call.u64(2)?);
    let type1 = object.type1()?;
    with_user_bitmap(call, 3, |query| type1.dirty_get_bitmap(iova, size, query))?;
    Value::DONE
}

fn dirty_into(call: &Call) -> Answer {
    let (object, iova, size) = (call.object(0)?, call.u64(1)?, call.u64(2)?);
    let type1 = object.type1()?;
    with_bitmap(call, 3, |query| type1.dirty_get_bitmap(iova, size, query))?;
    Value::DONE
}
