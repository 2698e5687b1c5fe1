//! Admin commands.

use super::access::Access;
use super::command::{COMMAND_SIZE, COMPLETION_SIZE, Command};
use super::config::VECTORS;
use super::controller::Controller;
use super::feature::{self, Selection, TIMESTAMP_SIZE};
use super::identify::{self, ALL_NAMESPACES, MAX_TRANSFER, NAMESPACE};
use super::io::Outcome;
use super::log_page;
use super::prp;
use super::queue::{self, CompletionQueue, SubmissionQueue};
use super::registers::MAX_QUEUE_ENTRIES;
use super::status::{Failure, Status};
use crate::pci::InterruptMode;

const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
const GET_LOG_PAGE: u8 = 0x02;
const DELETE_COMPLETION_QUEUE: u8 = 0x04;
const CREATE_COMPLETION_QUEUE: u8 = 0x05;
const IDENTIFY: u8 = 0x06;
const ABORT: u8 = 0x08;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const EVENT_REQUEST: u8 = 0x0c;

/// Every admin command that the controller knows.
pub(super) const OPCODES: [u8; 10] = [
    DELETE_SUBMISSION_QUEUE,
    CREATE_SUBMISSION_QUEUE,
    GET_LOG_PAGE,
    DELETE_COMPLETION_QUEUE,
    CREATE_COMPLETION_QUEUE,
    IDENTIFY,
    ABORT,
    SET_FEATURES,
    GET_FEATURES,
    EVENT_REQUEST,
];

/// The queue lies in contiguous memory.
const CONTIGUOUS: u32 = 0x1;
/// The completion queue interrupts.
const INTERRUPTS: u32 = 0x2;
/// Result of an abort that found nothing to abort.
const NOT_ABORTED: u32 = 0x1;

/// Executes an admin command.
///
/// # Errors
/// The status to complete it with, or why the work stopped.
pub(super) fn execute(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<Outcome, Failure> {
    command.check()?;
    let result = match command.opcode() {
        DELETE_SUBMISSION_QUEUE => delete_submission_queue(controller, access, command)?,
        CREATE_SUBMISSION_QUEUE => create_submission_queue(controller, access, command)?,
        GET_LOG_PAGE => get_log_page(controller, access, command)?,
        DELETE_COMPLETION_QUEUE => delete_completion_queue(controller, access, command)?,
        CREATE_COMPLETION_QUEUE => create_completion_queue(controller, access, command)?,
        IDENTIFY => identify(controller, access, command)?,
        ABORT => abort(controller, access, command)?,
        SET_FEATURES => set_features(controller, access, command)?,
        GET_FEATURES => get_features(controller, access, command)?,
        EVENT_REQUEST => {
            controller.change(access, |state| state.events.request(command.id()))??;
            return Ok(Outcome::Later);
        }
        _ => return Err(Status::INVALID_OPCODE.into()),
    };
    Ok(Outcome::Done(result))
}

/// Finds a new queue's entries: their number and where they lie.
fn queue_memory(command: &Command, page: u64, entry: usize) -> Result<(u64, u32), Status> {
    let size = (command.dword::<10>() >> 16) + 1;
    let [base, _] = command.prp();
    if !(2..=MAX_QUEUE_ENTRIES).contains(&size) {
        return Err(Status::INVALID_QUEUE_SIZE);
    }
    if !base.is_multiple_of(page) || !queue::fits(base, size, entry) {
        return Err(Status::INVALID_PRP_OFFSET);
    }
    if command.dword::<11>() & CONTIGUOUS == 0 {
        return Err(Status::INVALID_FIELD);
    }
    Ok((base, size))
}

const fn queue_id(command: &Command) -> u16 {
    command.dword::<10>() as u16
}

fn create_completion_queue(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<u32, Failure> {
    let id = queue_id(command);
    let details = command.dword::<11>();
    let by_message = controller.interrupt_mode() == InterruptMode::Msix;
    controller
        .change(access, |state| {
            let configuration = state.registers.configuration();
            if !state.queues.is_free_completion(id) {
                return Err(Status::INVALID_QUEUE_IDENTIFIER);
            }
            if !configuration.completion_entries_fit() {
                return Err(Status::INVALID_QUEUE_SIZE);
            }
            let (base, size) = queue_memory(command, configuration.page_size(), COMPLETION_SIZE)?;
            let vector = (details >> 16) as u16;
            if vector >= VECTORS || !by_message && vector != 0 {
                return Err(Status::INVALID_INTERRUPT_VECTOR);
            }
            let vector = (details & INTERRUPTS != 0).then_some(vector);
            state.queues.set_completion(id, Some(CompletionQueue::new(base, size, vector)));
            Ok(0)
        })?
        .map_err(Failure::from)
}

fn create_submission_queue(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<u32, Failure> {
    let id = queue_id(command);
    let completion = (command.dword::<11>() >> 16) as u16;
    controller
        .change(access, |state| {
            let configuration = state.registers.configuration();
            if completion == 0 || state.queues.completion(completion).is_none() {
                return Err(Status::COMPLETION_QUEUE_INVALID);
            }
            if !state.queues.is_free_submission(id) {
                return Err(Status::INVALID_QUEUE_IDENTIFIER);
            }
            if !configuration.submission_entries_fit() {
                return Err(Status::INVALID_QUEUE_SIZE);
            }
            let (base, size) = queue_memory(command, configuration.page_size(), COMMAND_SIZE)?;
            state.queues.set_submission(id, Some(SubmissionQueue::new(base, size, completion)));
            Ok(0)
        })?
        .map_err(Failure::from)
}

fn delete_submission_queue(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<u32, Failure> {
    let id = queue_id(command);
    controller
        .change(access, |state| {
            if id == 0 || state.queues.submission(id).is_none() {
                return Err(Status::INVALID_QUEUE_IDENTIFIER);
            }
            state.queues.set_submission(id, None);
            Ok(0)
        })?
        .map_err(Failure::from)
}

fn delete_completion_queue(
    controller: &Controller,
    access: &Access,
    command: &Command,
) -> Result<u32, Failure> {
    let id = queue_id(command);
    controller
        .change(access, |state| {
            if id == 0 || state.queues.completion(id).is_none() {
                return Err(Status::INVALID_QUEUE_IDENTIFIER);
            }
            if state.queues.is_completion_used(id) {
                return Err(Status::INVALID_QUEUE_DELETION);
            }
            state.queues.set_completion(id, None);
            Ok(0)
        })?
        .map_err(Failure::from)
}

/// Gives the host a page of data, or as much of it as there is.
fn give(controller: &Controller, access: &Access, command: &Command, page: &[u8]) -> Result<(), Failure> {
    let page_size = controller.change(access, |state| state.registers.configuration().page_size())?;
    let segments = prp::segments(access, command.prp(), page.len() as u64, page_size)?;
    access.give(&segments, |at, into| {
        let at = at as usize;
        into.copy_from_slice(&page[at..at + into.len()]);
        Ok(())
    })
}

fn identify(controller: &Controller, access: &Access, command: &Command) -> Result<u32, Failure> {
    let cns = command.dword::<10>() as u8;
    let command_set = (command.dword::<11>() >> 24) as u8;
    let page = identify::answer(
        controller.profile(),
        controller.namespace(),
        cns,
        command.namespace(),
        command_set,
    )?;
    give(controller, access, command, &page)?;
    Ok(0)
}

fn get_log_page(controller: &Controller, access: &Access, command: &Command) -> Result<u32, Failure> {
    const RETAIN_EVENT: u32 = 0x8000;
    const OFFSET_IS_INDEX: u32 = 0x0080_0000;
    let words = u64::from(command.dword::<10>() >> 16) | u64::from(command.dword::<11>() & 0xffff) << 16;
    let len = (words + 1) * 4;
    let offset = command.wide::<12>();
    let id = command.dword::<10>() as u8;
    let command_set = command.dword::<14>() >> 24;
    if len > MAX_TRANSFER || !offset.is_multiple_of(4) || command.dword::<14>() & OFFSET_IS_INDEX != 0 {
        return Err(Status::INVALID_FIELD.into());
    }
    let page = match id {
        log_page::ERRORS => controller.change(access, |state| state.records.errors())?,
        log_page::HEALTH if !matches!(command.namespace(), 0 | NAMESPACE | ALL_NAMESPACES) => {
            return Err(Status::INVALID_NAMESPACE.into());
        }
        log_page::HEALTH => controller.change(access, |state| state.records.health())?,
        log_page::FIRMWARE => log_page::firmware(controller.profile()),
        log_page::EFFECTS if command_set == 0 => log_page::effects(),
        log_page::EFFECTS => return Err(Status::INVALID_FIELD.into()),
        _ => return Err(Status::INVALID_LOG_PAGE.into()),
    };
    let rest =
        usize::try_from(offset).ok().and_then(|offset| page.get(offset..)).ok_or(Status::INVALID_FIELD)?;
    let wanted = rest.len().min(len as usize);
    give(controller, access, command, &rest[..wanted])?;
    if id == log_page::ERRORS && command.dword::<10>() & RETAIN_EVENT == 0 {
        controller.change(access, |state| state.events.acknowledge_errors())?;
    }
    Ok(0)
}

fn abort(controller: &Controller, access: &Access, command: &Command) -> Result<u32, Failure> {
    let queue = queue_id(command);
    let id = (command.dword::<10>() >> 16) as u16;
    // Commands are done in their order, so what could still be aborted is a request for an event only.
    let aborted = queue == 0 && controller.change(access, |state| state.events.abort(id))?;
    Ok(if aborted { 0 } else { NOT_ABORTED })
}

fn get_features(controller: &Controller, access: &Access, command: &Command) -> Result<u32, Failure> {
    let id = command.dword::<10>() as u8;
    let detail = command.dword::<11>();
    let selection = Selection::parse(command.dword::<10>() >> 8)?;
    let value = controller.change(access, |state| state.features.get(id, detail, selection))??;
    if id == feature::TIMESTAMP && selection == Selection::Current {
        let time = controller.change(access, |state| state.features.timestamp())?;
        give(controller, access, command, &time)?;
    }
    Ok(value)
}

fn set_features(controller: &Controller, access: &Access, command: &Command) -> Result<u32, Failure> {
    const SAVE: u32 = 0x8000_0000;
    let id = command.dword::<10>() as u8;
    let value = command.dword::<11>();
    if command.dword::<10>() & SAVE != 0 {
        return Err(Status::FEATURE_NOT_SAVEABLE.into());
    }
    if id == feature::TIMESTAMP {
        let page_size = controller.change(access, |state| state.registers.configuration().page_size())?;
        let segments = prp::segments(access, command.prp(), TIMESTAMP_SIZE as u64, page_size)?;
        let mut time = [0; TIMESTAMP_SIZE];
        access.take(&segments, |at, bytes| {
            let at = at as usize;
            time[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })?;
        controller.change(access, |state| state.features.set_timestamp(time))?;
        return Ok(0);
    }
    controller
        .change(access, |state| {
            if id == feature::QUEUES && state.queues.has_io_queues() {
                return Err(Status::COMMAND_SEQUENCE_ERROR);
            }
            state.features.set(id, value)
        })?
        .map_err(Failure::from)
}
