//! Commands for the namespace: read, write, flush, write zeroes, deallocate.

use super::access::Access;
use super::command::Command;
use super::controller::Controller;
use super::identify::{ALL_NAMESPACES, MAX_TRANSFER, MAX_ZEROES, NAMESPACE};
use super::namespace::{Extent, Namespace};
use super::prp;
use super::status::{Failure, Status};

const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const WRITE_ZEROES: u8 = 0x08;
const DATASET_MANAGEMENT: u8 = 0x09;

/// Every command for the namespace that the controller knows.
pub(super) const OPCODES: [u8; 5] = [FLUSH, WRITE, READ, WRITE_ZEROES, DATASET_MANAGEMENT];

/// Bytes of a range to deallocate: attributes, number of blocks, first block.
const RANGE_SIZE: usize = 16;

/// Says what becomes of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done, with this result.
    Done(u32),
    /// It is done without a completion, which comes when there is something to tell.
    Later,
}

/// Tells whether a command changes blocks.
pub(super) const fn changes_blocks(opcode: u8) -> bool {
    matches!(opcode, WRITE | WRITE_ZEROES | DATASET_MANAGEMENT)
}

/// Returns how many bytes a command moves at most; the greatest number for what takes long in other ways.
pub(super) fn weight(namespace: &Namespace, command: &Command) -> u64 {
    match command.opcode() {
        READ | WRITE | WRITE_ZEROES => count(command) << namespace.shift(),
        FLUSH if namespace.is_flushed_slowly() => u64::MAX,
        DATASET_MANAGEMENT => u64::MAX,
        _ => 0,
    }
}

/// Executes a command for the namespace.
///
/// # Errors
/// The status to complete it with, or why the work stopped.
pub(super) fn execute(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<Outcome, Failure> {
    command.check()?;
    let namespace = controller.namespace();
    let opcode = command.opcode();
    if !OPCODES.contains(&opcode) {
        return Err(Status::INVALID_OPCODE.into());
    }
    let is_everyones = opcode == FLUSH && command.namespace() == ALL_NAMESPACES;
    if command.namespace() != NAMESPACE && !is_everyones {
        return Err(Status::INVALID_NAMESPACE.into());
    }
    if changes_blocks(opcode) && !namespace.is_writable() {
        return Err(Status::WRITE_PROTECTED.into());
    }
    match opcode {
        READ => read(controller, access, command)?,
        WRITE => write(controller, access, command)?,
        WRITE_ZEROES => write_zeroes(controller, access, command)?,
        DATASET_MANAGEMENT => manage(controller, access, command)?,
        _ => namespace.flush()?,
    }
    Ok(Outcome::Done(0))
}

fn count(command: &Command) -> u64 {
    u64::from(command.dword::<12>() as u16) + 1
}

/// Finds the blocks that a command speaks of, no more than `most` bytes.
fn extent(namespace: &Namespace, command: &Command, most: u64) -> Result<Extent, Status> {
    let count = count(command);
    if count << namespace.shift() > most {
        return Err(Status::INVALID_FIELD);
    }
    namespace.extent(command.wide::<10>(), count)
}

fn page_size(controller: &Controller, access: &Access) -> Result<u64, Failure> {
    controller.change(access, |state| state.registers.configuration().page_size())
}

fn read(controller: &Controller, access: &Access, command: &Command) -> Result<(), Failure> {
    let namespace = controller.namespace();
    let extent = extent(namespace, command, MAX_TRANSFER)?;
    let segments = prp::segments(access, command.prp(), extent.len, page_size(controller, access)?)?;
    access.give(&segments, |at, into| namespace.read(extent.start + at, into))?;
    controller.change(access, |state| state.records.read(extent.len))
}

fn write(controller: &Controller, access: &Access, command: &Command) -> Result<(), Failure> {
    let namespace = controller.namespace();
    let extent = extent(namespace, command, MAX_TRANSFER)?;
    let segments = prp::segments(access, command.prp(), extent.len, page_size(controller, access)?)?;
    access.take(&segments, |at, bytes| namespace.write(extent.start + at, bytes))?;
    settle(controller, access, command)?;
    controller.change(access, |state| state.records.written(extent.len))
}

fn write_zeroes(controller: &Controller, access: &Access, command: &Command) -> Result<(), Failure> {
    let namespace = controller.namespace();
    namespace.clear(extent(namespace, command, MAX_ZEROES)?)?;
    settle(controller, access, command)
}

/// Brings what was written to where it survives, if the command or the lack of a cache asks for that.
fn settle(controller: &Controller, access: &Access, command: &Command) -> Result<(), Failure> {
    const FORCE_UNIT_ACCESS: u32 = 0x4000_0000;
    let cached = controller.change(access, |state| state.features.has_write_cache())?;
    if command.dword::<12>() & FORCE_UNIT_ACCESS != 0 || !cached {
        controller.namespace().flush()?;
    }
    Ok(())
}

/// Deallocates blocks, which read as zeros from then on; other hints are for others.
fn manage(controller: &Controller, access: &Access, command: &Command) -> Result<(), Failure> {
    const DEALLOCATE: u32 = 0x4;
    let namespace = controller.namespace();
    let mut bytes = vec![0; (usize::from(command.dword::<10>() as u8) + 1) * RANGE_SIZE];
    let segments = prp::segments(access, command.prp(), bytes.len() as u64, page_size(controller, access)?)?;
    access.take(&segments, |at, piece| {
        let at = at as usize;
        bytes[at..at + piece.len()].copy_from_slice(piece);
        Ok(())
    })?;
    let mut extents = bytes
        .chunks_exact(RANGE_SIZE)
        .map(|range| namespace.extent(number(&range[8..16]), number(&range[4..8])))
        .collect::<Result<Vec<Extent>, Status>>()?;
    if command.dword::<11>() & DEALLOCATE == 0 {
        return Ok(());
    }
    // No block is cleared twice, however often the ranges name it.
    extents.sort_by_key(|extent| extent.start);
    let mut cleared = 0;
    for Extent { start, len } in extents {
        let end = start + len;
        let start = start.max(cleared);
        if start < end {
            namespace.clear(Extent { start, len: end - start })?;
            cleared = end;
        }
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}
