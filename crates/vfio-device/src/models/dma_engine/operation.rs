//! What the engine does with memory.

use vfio_iommu::{DmaFault, DmaSpace};

use super::crc32c::Crc32c;
use super::descriptor::Descriptor;

/// Bytes that are on their way: few enough to stay in the cache.
const BUFFER: usize = 16_384;
/// Most bytes of one entry.
const MAX_LEN: u32 = 4 << 20;

/// How an entry ended, as the driver reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Done = 1,
    Differs = 2,
    UnknownOperation = 0x10,
    BadLength = 0x11,
    SourceFault = 0x12,
    DestinationFault = 0x13,
}

/// Status and result of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) result: Option<u64>,
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self { status, result: None }
    }
}

/// Does what a descriptor says. What was done before a fault stays done.
pub(super) fn run(dma: &dyn DmaSpace, descriptor: &Descriptor) -> Outcome {
    if descriptor.len > MAX_LEN {
        return Status::BadLength.into();
    }
    let outcome = match descriptor.operation {
        0 => Ok(Status::Done.into()),
        1 => copy(dma, descriptor),
        2 => fill(dma, descriptor),
        3 => compare(dma, descriptor),
        4 => checksum(dma, descriptor),
        _ => Ok(Status::UnknownOperation.into()),
    };
    outcome.unwrap_or_else(Outcome::from)
}

/// Splits a length into parts that fit the buffer: offset and size of each.
fn parts(len: u32) -> impl Iterator<Item = (u64, usize)> {
    let len = len as usize;
    (0..len).step_by(BUFFER).map(move |at| (at as u64, BUFFER.min(len - at)))
}

fn from_source(_: DmaFault) -> Status {
    Status::SourceFault
}

fn to_destination(_: DmaFault) -> Status {
    Status::DestinationFault
}

fn copy(dma: &dyn DmaSpace, descriptor: &Descriptor) -> Result<Outcome, Status> {
    let mut buffer = [0; BUFFER];
    for (at, size) in parts(descriptor.len) {
        dma.read(descriptor.source.wrapping_add(at), &mut buffer[..size]).map_err(from_source)?;
        dma.write(descriptor.destination.wrapping_add(at), &buffer[..size]).map_err(to_destination)?;
    }
    Ok(Status::Done.into())
}

/// Repeats the eight bytes of the pattern.
fn fill(dma: &dyn DmaSpace, descriptor: &Descriptor) -> Result<Outcome, Status> {
    let mut buffer = [0; BUFFER];
    for word in buffer.as_chunks_mut().0 {
        *word = descriptor.pattern.to_le_bytes();
    }
    for (at, size) in parts(descriptor.len) {
        dma.write(descriptor.destination.wrapping_add(at), &buffer[..size]).map_err(to_destination)?;
    }
    Ok(Status::Done.into())
}

fn compare(dma: &dyn DmaSpace, descriptor: &Descriptor) -> Result<Outcome, Status> {
    let (mut one, mut other) = ([0; BUFFER], [0; BUFFER]);
    for (at, size) in parts(descriptor.len) {
        dma.read(descriptor.source.wrapping_add(at), &mut one[..size]).map_err(from_source)?;
        dma.read(descriptor.destination.wrapping_add(at), &mut other[..size]).map_err(to_destination)?;
        if one[..size] != other[..size] {
            let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
            return Ok(Outcome { status: Status::Differs, result: Some(at + same as u64) });
        }
    }
    Ok(Status::Done.into())
}

fn checksum(dma: &dyn DmaSpace, descriptor: &Descriptor) -> Result<Outcome, Status> {
    let mut buffer = [0; BUFFER];
    let mut crc = Crc32c::default();
    for (at, size) in parts(descriptor.len) {
        dma.read(descriptor.source.wrapping_add(at), &mut buffer[..size]).map_err(from_source)?;
        crc.add(&buffer[..size]);
    }
    Ok(Outcome { status: Status::Done, result: Some(crc.value().into()) })
}
