//! Raw calls on a device's view of memory that do many accesses in one crossing.

use vfio_iommu::Access;
use vfio_memory::Prot;
use vfio_uapi::Errno;

use super::{Answer, Call, Entry, Refusal, Value};

/// The calls of this file. The first argument is the handle.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(c"dmaTranslateBatch", "dma iovas access hosts", translate),
    Entry::new(c"dmaReadBatch", "dma pairs into", gather),
    Entry::new(c"dmaWriteBatch", "dma pairs from", scatter),
];

/// Stands for an address that was refused.
const REFUSED: u64 = u64::MAX;

fn translate(call: &Call) -> Answer {
    let object = call.object(0)?;
    let space = object.dma()?;
    let (mut addresses, prot) = (call.u64s(1)?, call.access(2)?);
    if call.u64s_len(3)? != addresses.len() {
        return Err(Errno::EINVAL.into());
    }
    let access = if prot.contains(Prot::WRITE) { Access::Write } else { Access::Read };
    let mut done = 0;
    for address in &mut addresses {
        let readable = prot != Prot::RW || space.translate(*address, Access::Read).is_ok();
        let found = space.translate(*address, access).ok().filter(|_| readable);
        *address = found.map_or(REFUSED, |found| found.host);
        done += usize::from(found.is_some());
    }
    call.store_u64s(3, &addresses)?;
    Ok(Value::count(done))
}

/// Checks that pairs of address and length fill at most `room` bytes, and returns how many.
fn total(pairs: &[u64], room: usize) -> Result<usize, Refusal> {
    if pairs.len() % 2 != 0 {
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
    bytes.with_mut(|mut into| {
        for pair in pairs.chunks_exact(2) {
            let (piece, rest) = into.split_at_mut(pair[1] as usize);
            space.read(pair[0], piece)?;
            into = rest;
        }
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
    bytes.with(|mut from| {
        for pair in pairs.chunks_exact(2) {
            let (piece, rest) = from.split_at(pair[1] as usize);
            space.write(pair[0], piece)?;
            from = rest;
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(Value::count(total))
}
