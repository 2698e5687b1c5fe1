//! What belongs to a guest's IOMMU (`IOMMUFD_OBJ_VIOMMU`): its devices by the guest's numbers, its events, its commands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Ioas;
use super::domain::PagingDomain;
use super::event_queue::EventQueue;
use super::nested::{NestedTable, invalidated};
use super::port::DevicePort;
use crate::{Access, DmaFault, DmaSpace, FaultReason, IovaRange};

/// Bytes of a command.
pub const COMMAND_SIZE: usize = 32;
/// Forgets all translations of the virtual IOMMU.
const INVALIDATE_ALL: u32 = 1;
/// Forgets the translations of a range, of one device's PASID.
const INVALIDATE_PAGES: u32 = 2;
/// Writes a value to guest memory, when all commands before it are done.
const SYNC: u32 = 3;

/// A DMA was refused.
const EVENT_TRANSLATION: u32 = 1;
/// A queue of commands stopped.
const EVENT_QUEUE: u32 = 2;

/// Why a command was not done; the number stands in its `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CommandError {
    /// There is no such command, or a reserved member is set.
    Unknown = 1,
    /// No device has that number.
    NoDevice = 2,
    /// The addresses make no sense.
    Address = 3,
    /// Memory that it needs is not there.
    Memory = 4,
    /// The producer index is too far ahead.
    Index = 5,
}

/// A refused DMA of a device, as its guest hears of it.
pub(super) struct TranslationEvent {
    pub(super) virt_id: u64,
    pub(super) pasid: Option<u32>,
    pub(super) fault: DmaFault,
}

/// The part of a guest's IOMMU that works without its user space.
pub struct VirtualIommu {
    parent: Arc<PagingDomain>,
    /// What the parent mirrors.
    ioas: Ioas,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Option<Arc<EventQueue>>,
    devices: BTreeMap<u64, Weak<DevicePort>>,
    tables: Vec<Weak<NestedTable>>,
}

/// A command (`struct iommu_viommu_software_command`).
struct Command {
    opcode: u32,
    pasid: u32,
    virt_id: u64,
    addr: u64,
    count: u64,
}

impl Command {
    fn decode(bytes: &[u8; COMMAND_SIZE]) -> Self {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        // The upper half of the first long word is the PASID's; the error is an answer.
        Self { opcode: word(0) & 0xff, pasid: word(4), virt_id: long(8), addr: long(16), count: long(24) }
    }

    fn pasid(&self) -> Option<u32> {
        (self.pasid != 0).then_some(self.pasid)
    }
}

impl VirtualIommu {
    /// Makes one on top of `parent`, which mirrors `ioas`.
    #[must_use]
    pub fn new(parent: &Arc<PagingDomain>, ioas: &Ioas) -> Arc<Self> {
        let (parent, ioas) = (Arc::clone(parent), ioas.clone());
        Arc::new(Self { parent, ioas, state: Mutex::default() })
    }

    /// Returns the address space of the guest's memory.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        &self.ioas
    }

    /// Says where events go.
    pub fn set_events(&self, events: Option<Arc<EventQueue>>) {
        let old = std::mem::replace(&mut self.state.lock().events, events);
        drop(old);
    }

    /// Makes a device known by the guest's number, or unknown.
    pub fn set_device(&self, virt_id: u64, port: Option<&Arc<DevicePort>>) {
        let mut state = self.state.lock();
        match port {
            Some(port) => drop(state.devices.insert(virt_id, Arc::downgrade(port))),
            None => drop(state.devices.remove(&virt_id)),
        }
    }

    /// Takes part in the invalidations of a guest's page table.
    pub fn add_table(&self, table: &Arc<NestedTable>) {
        let mut state = self.state.lock();
        state.tables.retain(|known| known.strong_count() > 0);
        state.tables.push(Arc::downgrade(table));
    }

    /// Does one command.
    ///
    /// # Errors
    /// Why it was not done; nothing has happened then.
    pub fn execute(&self, bytes: &[u8; COMMAND_SIZE]) -> Result<(), CommandError> {
        let reserved = bytes[1..4].iter().any(|byte| *byte != 0);
        if reserved {
            return Err(CommandError::Unknown);
        }
        let command = Command::decode(bytes);
        match command.opcode {
            INVALIDATE_ALL => {
                self.tables().iter().for_each(|table| table.forget(IovaRange::ALL));
                Ok(())
            }
            INVALIDATE_PAGES => self.invalidate_pages(&command),
            SYNC => self.sync(&command),
            _ => Err(CommandError::Unknown),
        }
    }

    fn tables(&self) -> Vec<Arc<NestedTable>> {
        self.state.lock().tables.iter().filter_map(Weak::upgrade).collect()
    }

    fn invalidate_pages(&self, command: &Command) -> Result<(), CommandError> {
        let device = self.state.lock().devices.get(&command.virt_id).cloned();
        let device = device.ok_or(CommandError::NoDevice)?;
        let range = invalidated(command.addr, command.count).map_err(|_| CommandError::Address)?;
        let table = device.upgrade().and_then(|port| port.nested(command.pasid()));
        if let (Some(table), Some(range)) = (table, range) {
            table.forget(range);
        }
        Ok(())
    }

    fn sync(&self, command: &Command) -> Result<(), CommandError> {
        if !command.addr.is_multiple_of(8) {
            return Err(CommandError::Address);
        }
        let table = self.parent.table().ok_or(CommandError::Memory)?;
        table.write(command.addr, &command.count.to_le_bytes()).map_err(|_| CommandError::Memory)?;
        if let (Some(dirty), Some(range)) = (self.parent.dirty(), IovaRange::sized(command.addr, 8)) {
            dirty.mark(range);
        }
        Ok(())
    }

    /// Tells the guest of a refused DMA.
    pub(super) fn report(&self, event: &TranslationEvent) {
        let flags = u32::from(event.fault.access == Access::Write) | u32::from(event.pasid.is_some()) << 1;
        let fields = [EVENT_TRANSLATION, reason(event.fault.reason), event.pasid.unwrap_or(0), flags];
        self.send(event.virt_id, event.fault.iova, fields);
    }

    /// Tells the guest that a queue of its commands stopped.
    pub(super) fn report_queue(&self, index: u32, at: u64, error: CommandError) {
        self.send(u64::from(index), at, [EVENT_QUEUE, error as u32, 0, 0]);
    }

    fn send(&self, virt_id: u64, addr: u64, fields: [u32; 4]) {
        let Some(events) = self.state.lock().events.clone() else { return };
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(virt_id.to_le_bytes());
        bytes.extend(addr.to_le_bytes());
        fields.iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        events.report(&bytes); // with no lock held: its listener is called
    }
}

/// Returns the number of a reason in an event.
fn reason(reason: FaultReason) -> u32 {
    match reason {
        FaultReason::NoMapping => 1,
        FaultReason::Permission => 2,
        FaultReason::OutsideWindow => 3,
        FaultReason::BrokenTable => 4,
        FaultReason::Unbacked => 5,
        _ => 0,
    }
}

impl fmt::Debug for VirtualIommu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualIommu").finish_non_exhaustive()
    }
}
