//! Raw calls on DMA windows: updates of entries.

use vfio_memory::Prot;
use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"tceMap", "table iova vaddr pages access", map),
    Entry::new(c"tceUnmap", "table iova pages", unmap),
    Entry::new(c"tceMapList", "table iova entries", map_list),
    Entry::new(c"tceMapBatch", "table triples access failure", map_batch),
    Entry::new(c"tceUnmapBatch", "table pairs failure", unmap_batch),
];

fn map(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (iova, vaddr, pages, access) = (call.u64(1)?, call.u64(2)?, call.u64(3)?, call.access(4)?);
    object.tce_table()?.map(iova, vaddr, pages, access)?;
    Value::DONE
}

fn unmap(call: &Call) -> Answer {
    let object = call.object(0)?;
    object.tce_table()?.unmap(call.u64(1)?, call.u64(2)?)?;
    Value::DONE
}

/// Sets neighbouring entries, each from a user address with its rights in the lowest bits; no rights clear it.
/// Answers how many were set, which is all of them unless one was refused.
fn map_list(call: &Call) -> Answer {
    let object = call.object(0)?;
    let table = object.tce_table()?;
    let (mut iova, entries) = (call.u64(1)?, call.u64s(2)?);
    for (done, entry) in entries.iter().enumerate() {
        let prot = Prot::from_bits_truncate((entry & 3) as u8);
        let updated =
            if prot.is_empty() { table.unmap(iova, 1) } else { table.map(iova, entry & !3, 1, prot) };
        if updated.is_err() {
            return Ok(Value::count(done));
        }
        iova = iova.wrapping_add(table.page_size());
    }
    Ok(Value::count(entries.len()))
}

/// Runs requests of `width` numbers until one is refused; answers how many succeeded.
fn batch(
    call: &Call,
    width: usize,
    numbers: &[u64],
    failure: usize,
    mut run: impl FnMut(&[u64]) -> Result<(), Errno>,
) -> Answer {
    call.store_i32(failure, 0)?;
    if !numbers.len().is_multiple_of(width) {
        return Err(Errno::EINVAL.into());
    }
    for (done, request) in numbers.chunks_exact(width).enumerate() {
        if let Err(errno) = run(request) {
            call.store_i32(failure, -errno.code())?;
            return Ok(Value::count(done));
        }
    }
    Ok(Value::count(numbers.len() / width))
}

/// Returns how many pages a size is; `EINVAL` not whole ones.
fn pages(size: u64, page: u64) -> Result<u64, Errno> {
    if size.is_multiple_of(page) { Ok(size / page) } else { Err(Errno::EINVAL) }
}

fn map_batch(call: &Call) -> Answer {
    let object = call.object(0)?;
    let (triples, access) = (call.u64s(1)?, call.access(2)?);
    let table = object.tce_table()?;
    batch(call, 3, &triples, 3, |triple| {
        table.map(triple[1], triple[0], pages(triple[2], table.page_size())?, access)
    })
}

fn unmap_batch(call: &Call) -> Answer {
    let object = call.object(0)?;
    let pairs = call.u64s(1)?;
    let table = object.tce_table()?;
    batch(call, 2, &pairs, 2, |pair| table.unmap(pair[0], pages(pair[1], table.page_size())?))
}
