//! What the Identify command answers.

use super::namespace::Namespace;
use super::profile::Profile;
use super::registers::VERSION;
use super::status::Status;

/// Bytes of every answer.
pub(super) const PAGE_SIZE: usize = 4096;
/// The one namespace.
pub(super) const NAMESPACE: u32 = 1;
/// Stands for every namespace.
pub(super) const ALL_NAMESPACES: u32 = u32::MAX;
/// Exponent of the pages of 4 KiB that one command can move.
pub(super) const MAX_TRANSFER_SHIFT: u8 = 7;
/// Bytes that one command can move.
pub(super) const MAX_TRANSFER: u64 = (4 << 10) << MAX_TRANSFER_SHIFT;
/// Exponent of the pages of 4 KiB that one command can fill with zeros.
const MAX_ZEROES_SHIFT: u8 = 11;
/// Bytes that one command can fill with zeros.
pub(super) const MAX_ZEROES: u64 = (4 << 10) << MAX_ZEROES_SHIFT;
/// Asynchronous event requests that can wait at once.
pub(super) const EVENT_REQUESTS: usize = 4;
/// Entries of the error log.
pub(super) const ERROR_ENTRIES: usize = 4;
/// Temperature at which the controller would warn, in kelvins.
pub(super) const WARNING_TEMPERATURE: u16 = 0x157;
/// Temperature at which the controller would stop, in kelvins.
const CRITICAL_TEMPERATURE: u16 = 0x175;

const NVM_COMMAND_SET: u8 = 0;

const CNS_NAMESPACE: u8 = 0x00;
const CNS_CONTROLLER: u8 = 0x01;
const CNS_NAMESPACE_LIST: u8 = 0x02;
const CNS_DESCRIPTORS: u8 = 0x03;
const CNS_NAMESPACE_OF_SET: u8 = 0x05;
const CNS_CONTROLLER_OF_SET: u8 = 0x06;
const CNS_NAMESPACE_LIST_OF_SET: u8 = 0x07;
const CNS_NAMESPACE_OF_ANY_SET: u8 = 0x08;
const CNS_COMMAND_SETS: u8 = 0x1c;

/// An answer in the making.
struct Page([u8; PAGE_SIZE]);

impl Page {
    const fn empty() -> Self {
        Self([0; PAGE_SIZE])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Answers an Identify command for the structure `cns`.
///
/// # Errors
/// The controller has no such structure, or no such namespace.
pub(super) fn answer(
    profile: &Profile,
    namespace: &Namespace,
    cns: u8,
    id: u32,
    command_set: u8,
) -> Result<[u8; PAGE_SIZE], Status> {
    let of_set = matches!(cns, CNS_NAMESPACE_OF_SET | CNS_CONTROLLER_OF_SET | CNS_NAMESPACE_LIST_OF_SET);
    if of_set && command_set != NVM_COMMAND_SET {
        return Err(Status::INVALID_FIELD);
    }
    let page = match cns {
        CNS_CONTROLLER => controller(profile),
        CNS_CONTROLLER_OF_SET => controller_of_set(),
        CNS_COMMAND_SETS => command_sets(),
        CNS_NAMESPACE_LIST | CNS_NAMESPACE_LIST_OF_SET => list(id)?,
        CNS_NAMESPACE => self::namespace(existing(id)?, profile, namespace),
        CNS_DESCRIPTORS => descriptors(existing(id)?, profile),
        CNS_NAMESPACE_OF_SET => namespace_of_set(existing(id)?),
        CNS_NAMESPACE_OF_ANY_SET => any_set(existing(id)?, namespace),
        _ => return Err(Status::INVALID_FIELD),
    };
    Ok(page.0)
}

/// Witnesses that a namespace exists.
struct Existing;

fn existing(id: u32) -> Result<Existing, Status> {
    if id == NAMESPACE { Ok(Existing) } else { Err(Status::INVALID_NAMESPACE) }
}

fn controller(profile: &Profile) -> Page {
    let mut page = Page::empty();
    page.put(0, &profile.vendor.to_le_bytes());
    page.put(2, &profile.subsystem_vendor.to_le_bytes());
    page.put(4, &profile.serial);
    page.put(24, &profile.model);
    page.put(64, &profile.firmware);
    // Arbitration burst.
    page.put(72, &[6]);
    // The vendor's number among makers of network cards.
    page.put(73, &[0x00, 0x54, 0x52]);
    page.put(77, &[MAX_TRANSFER_SHIFT]);
    page.put(80, &VERSION.to_le_bytes());
    // An I/O controller.
    page.put(111, &[1]);
    // Commands that can be aborted at once.
    page.put(258, &[3]);
    page.put(259, &[EVENT_REQUESTS as u8 - 1]);
    // One slot for firmware, which cannot be written.
    page.put(260, &[0x03]);
    // Logs: health by namespace, effects of commands, parts of a page.
    page.put(261, &[0x07]);
    page.put(262, &[ERROR_ENTRIES as u8 - 1]);
    page.put(266, &WARNING_TEMPERATURE.to_le_bytes());
    page.put(268, &CRITICAL_TEMPERATURE.to_le_bytes());
    // Sizes of entries, least and most.
    page.put(512, &[0x66, 0x44]);
    page.put(516, &NAMESPACE.to_le_bytes());
    // Dataset management, write zeroes, the time.
    page.put(520, &0x004cu16.to_le_bytes());
    // A volatile cache, and a flush can speak of every namespace.
    page.put(525, &[0x07]);
    page.put(768, profile.subsystem_name.as_bytes());
    // The one power state: 25 W, latencies to enter and leave it.
    page.put(2048, &0x09c4u16.to_le_bytes());
    page.put(2052, &0x10u32.to_le_bytes());
    page.put(2056, &0x04u32.to_le_bytes());
    page
}

fn controller_of_set() -> Page {
    let mut page = Page::empty();
    page.put(1, &[MAX_ZEROES_SHIFT]);
    page
}

fn command_sets() -> Page {
    let mut page = Page::empty();
    page.put(0, &[1 << NVM_COMMAND_SET]);
    page
}

fn list(above: u32) -> Result<Page, Status> {
    let mut page = Page::empty();
    if above >= ALL_NAMESPACES - 1 {
        return Err(Status::INVALID_NAMESPACE);
    }
    if above < NAMESPACE {
        page.put(0, &NAMESPACE.to_le_bytes());
    }
    Ok(page)
}

fn namespace(Existing: Existing, profile: &Profile, namespace: &Namespace) -> Page {
    let mut page = Page::empty();
    for at in [0, 8, 16] {
        page.put(at, &namespace.blocks().to_le_bytes());
    }
    // Blocks that were deallocated read as zeros, and writing zeros may deallocate.
    page.put(33, &[0x09]);
    page.put(99, &[u8::from(!namespace.is_writable())]);
    page.put(104, &profile.namespace_uuid);
    page.put(130, &[namespace.shift() as u8]);
    page
}

fn descriptors(Existing: Existing, profile: &Profile) -> Page {
    const GUID: u8 = 2;
    const UUID: u8 = 3;
    const COMMAND_SET: u8 = 4;
    let mut page = Page::empty();
    let mut at = 0;
    let list: [(u8, &[u8]); 3] =
        [(GUID, &profile.namespace_uuid), (UUID, &profile.namespace_uuid), (COMMAND_SET, &[NVM_COMMAND_SET])];
    for (kind, bytes) in list {
        page.put(at, &[kind, bytes.len() as u8]);
        page.put(at + 4, bytes);
        at += 4 + bytes.len();
    }
    page
}

/// Tells what the command set adds: nothing.
fn namespace_of_set(Existing: Existing) -> Page {
    Page::empty()
}

fn any_set(Existing: Existing, namespace: &Namespace) -> Page {
    let mut page = Page::empty();
    page.put(8, &[u8::from(!namespace.is_writable())]);
    // The namespace is ready.
    page.put(14, &[1]);
    page
}
