//! Raw calls on a device's view of memory that do many accesses in one crossing.

use vfio_iommu::{Access, REFUSED};
use vfio_memory::Prot;
use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Refusal, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"dmaTranslateBatch", "dma iovas access hosts", translate),
    Entry::new(c"dmaReadBatch", "dma pairs into", gather),
    Entry::new(c"dmaWriteBatch", "dma pairs from", scatter),
];

fn translate(call: &Call) -> Answer {
    let object = call.object(0)?;
    let space = object.dma()?;
    let (mut addresses, prot) = (call.u64s(1)?, call.access(2)?);
    if call.u64s_len(3)? != addresses.len() {
        return Err(Errno::EINVAL.into());
    }
    let mut readable = if prot == Prot::RW { addresses.clone() } else { Vec::new() };
    let access = if prot.contains(Prot::WRITE) { Access::Write } else { Access::Read };
    let mut done = space.translate_batch(&mut addresses, access);
    space.translate_batch(&mut readable, Access::Read);
    for (host, _) in
        addresses.iter_mut().zip(&readable).filter(|(host, read)| **host != REFUSED && **read == REFUSED)
    {
        *host = REFUSED;
        done -= 1;
    }
    call.store_u64s(3, &addresses)?;
    Ok(Value::count(done))
}

/// Checks that pairs of address and length fill at most `room` bytes, and returns how many.
fn total(pairs: &[u64], room: usize) -> Result<usize, Refusal> {
    if !pairs.len().is_multiple_of(2) {
        return Err(Errno::EINVAL.into());
    }
    let sum = pairs.chunks_exact(2).try_fold(0_u64, |sum, pair| sum.checked_add(pair[1]));
    let sum = sum.and_then(|sum| usize::try_from(sum).ok());
    Ok(sum.filter(|sum| *sum <= room).ok_or(Errno::EINVAL)?)
}

fn gather(call: &Call) -> Answer {
    let object = call.object(0)?;
    let space = object.dma()?;
    let pairs = call.u64s(1)?;
    let mut bytes = call.bytes(2)?;
    let total = total(&pairs, bytes.len())?;
    bytes.with_mut(|into| {
        space.read_batch(pairs.as_chunks().0, into)?;
        Ok::<_, Refusal>(())
    })?;
    Ok(Value::count(total))
}

fn scatter(call: &Call) -> Answer {
    let object = call.object(0)?;
    let space = object.dma()?;
    let pairs = call.u64s(1)?;
    let bytes = call.bytes(2)?;
    let total = total(&pairs, bytes.len())?;
    bytes.with(|from| {
        space.write_batch(pairs.as_chunks().0, from)?;
        Ok::<_, Refusal>(())
    })?;
    Ok(Value::count(total))
}
