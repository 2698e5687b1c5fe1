//! The controller's registers: what they hold and which bits a write changes.

use super::command::{COMMAND_SIZE, COMPLETION_SIZE};
use super::queue;

/// Controller capabilities: queues of 2048 entries in contiguous memory, 7.5 s to become ready, the NVM command set
/// alone or by way of the I/O command sets, memory pages of 4 to 64 KiB.
pub(super) const CAPABILITIES: u64 = 0x0040_0820_0f01_07ff;
/// Version 1.4.
pub(super) const VERSION: u32 = 0x0001_0400;
/// Entries that a queue can have at most.
pub(super) const MAX_QUEUE_ENTRIES: u32 = (CAPABILITIES & 0xffff) as u32 + 1;
/// Where the doorbells begin.
pub(super) const DOORBELLS: u64 = 0x1000;

const CAP: usize = 0x00;
const VS: usize = 0x08;
const INTMS: usize = 0x0c;
const INTMC: usize = 0x10;
const CC: usize = 0x14;
const CSTS: usize = 0x1c;
const AQA: usize = 0x24;
const ASQ: usize = 0x28;
const ACQ: usize = 0x30;
const IMAGE_SIZE: usize = 0x38;

const CC_WRITABLE: u32 = 0x00ff_fff1;
const AQA_WRITABLE: u32 = 0x0fff_0fff;
const BASE_WRITABLE: u64 = !0xfff;

/// Status: the controller takes commands.
const CSTS_RDY: u32 = 0x1;
/// Status: the controller failed and waits for a reset.
const CSTS_CFS: u32 = 0x2;
const CSTS_SHST: u32 = 0xc;
const CSTS_SHST_OCCURRING: u32 = 0x4;
const CSTS_SHST_COMPLETE: u32 = 0x8;

const MEMORY_PAGE_SHIFT: u32 = 12;
const MPS_MAX: u32 = (CAPABILITIES >> 52 & 0xf) as u32;
/// Exponent of the size of a submission queue entry.
pub(super) const SUBMISSION_ENTRY_SHIFT: u32 = 6;
/// Exponent of the size of a completion queue entry.
pub(super) const COMPLETION_ENTRY_SHIFT: u32 = 4;

/// Holds the configuration register, CC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Configuration(u32);

impl Configuration {
    /// The controller is to run.
    pub(super) const fn enabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// A shutdown, normal or abrupt, is asked for.
    pub(super) const fn shuts_down(self) -> bool {
        self.0 >> 14 & 3 != 0
    }

    /// Bytes of a memory page.
    pub(super) const fn page_size(self) -> u64 {
        1 << (MEMORY_PAGE_SHIFT + (self.0 >> 7 & 0xf))
    }

    /// The entry size for submission queues is the one that the controller has.
    pub(super) const fn submission_entries_fit(self) -> bool {
        self.0 >> 16 & 0xf == SUBMISSION_ENTRY_SHIFT
    }

    /// The entry size for completion queues is the one that the controller has.
    pub(super) const fn completion_entries_fit(self) -> bool {
        self.0 >> 20 & 0xf == COMPLETION_ENTRY_SHIFT
    }

    /// The command set, the page size and the arbitration are ones that the controller has.
    const fn is_supported(self) -> bool {
        matches!(self.0 >> 4 & 7, 0 | 6) && self.0 >> 7 & 0xf <= MPS_MAX && self.0 >> 11 & 7 == 0
    }
}

/// Describes the admin queues as the registers have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminQueues {
    pub(super) submission_base: u64,
    pub(super) submission_size: u32,
    pub(super) completion_base: u64,
    pub(super) completion_size: u32,
}

/// Says what a write to a register asks of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// To look at the interrupt line again.
    InterruptMask,
    /// To follow its configuration, which was `before`.
    Configuration { before: Configuration },
}

/// Holds the registers.
#[derive(Debug, Clone, Default)]
pub(super) struct Registers {
    interrupt_mask: u32,
    configuration: Configuration,
    status: u32,
    admin_sizes: u32,
    submission_base: u64,
    completion_base: u64,
}

impl Registers {
    /// Reads any bytes; what is no register reads as zero.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let mut image = [0; IMAGE_SIZE];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(CAP, &CAPABILITIES.to_le_bytes());
        put(VS, &VERSION.to_le_bytes());
        put(INTMS, &self.interrupt_mask.to_le_bytes());
        put(INTMC, &self.interrupt_mask.to_le_bytes());
        put(CC, &self.configuration.0.to_le_bytes());
        put(CSTS, &self.status.to_le_bytes());
        put(AQA, &self.admin_sizes.to_le_bytes());
        put(ASQ, &self.submission_base.to_le_bytes());
        put(ACQ, &self.completion_base.to_le_bytes());
        for (byte, at) in into.iter_mut().zip(offset..) {
            *byte = usize::try_from(at).ok().and_then(|at| image.get(at)).copied().unwrap_or(0);
        }
    }

    /// Writes four aligned bytes.
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Effect {
        const ASQ_HIGH: usize = ASQ + 4;
        const ACQ_HIGH: usize = ACQ + 4;
        match usize::try_from(offset).unwrap_or(usize::MAX) {
            INTMS => {
                self.interrupt_mask |= value;
                return Effect::InterruptMask;
            }
            INTMC => {
                self.interrupt_mask &= !value;
                return Effect::InterruptMask;
            }
            CC => {
                let before = self.configuration;
                self.configuration = Configuration(value & CC_WRITABLE);
                return Effect::Configuration { before };
            }
            AQA => self.admin_sizes = value & AQA_WRITABLE,
            ASQ => set_low(&mut self.submission_base, value),
            ASQ_HIGH => set_high(&mut self.submission_base, value),
            ACQ => set_low(&mut self.completion_base, value),
            ACQ_HIGH => set_high(&mut self.completion_base, value),
            _ => {}
        }
        Effect::None
    }

    /// Returns the configuration.
    pub(super) const fn configuration(&self) -> Configuration {
        self.configuration
    }

    /// Tells whether the interrupt line ignores a vector.
    pub(super) const fn masks(&self, vector: u16) -> bool {
        vector < 32 && self.interrupt_mask >> vector & 1 != 0
    }

    /// Returns the admin queues, if the configuration is one that the controller can start with.
    pub(super) fn admin_queues(&self) -> Option<AdminQueues> {
        let queues = AdminQueues {
            submission_base: self.submission_base,
            submission_size: (self.admin_sizes & 0xfff) + 1,
            completion_base: self.completion_base,
            completion_size: (self.admin_sizes >> 16 & 0xfff) + 1,
        };
        let page = self.configuration.page_size();
        let aligned = (queues.submission_base | queues.completion_base) & (page - 1) == 0;
        let sized = queues.submission_size >= 2 && queues.completion_size >= 2;
        let fit = queue::fits(queues.submission_base, queues.submission_size, COMMAND_SIZE)
            && queue::fits(queues.completion_base, queues.completion_size, COMPLETION_SIZE);
        (self.configuration.is_supported() && aligned && sized && fit).then_some(queues)
    }

    /// Tells whether the controller takes commands.
    pub(super) const fn is_ready(&self) -> bool {
        self.status & CSTS_RDY != 0
    }

    /// Says whether the controller takes commands.
    pub(super) const fn set_ready(&mut self, ready: bool) {
        self.status = self.status & !CSTS_RDY | if ready { CSTS_RDY } else { 0 };
    }

    /// Tells whether the controller has failed.
    pub(super) const fn has_failed(&self) -> bool {
        self.status & CSTS_CFS != 0
    }

    /// Reports a failure that only a reset ends.
    pub(super) const fn fail(&mut self) {
        self.status |= CSTS_CFS;
    }

    /// Reports that a shutdown has begun, or that it is done.
    pub(super) const fn set_shutdown(&mut self, complete: bool) {
        let shown = if complete { CSTS_SHST_COMPLETE } else { CSTS_SHST_OCCURRING };
        self.status = self.status & !CSTS_SHST | shown;
    }

    /// Takes the report of a shutdown back.
    pub(super) const fn clear_shutdown(&mut self) {
        self.status &= !CSTS_SHST;
    }

    /// Does what clearing the enable bit does: configuration and admin queues stay, the rest is as after power-on. The
    /// ready bit is the caller's to clear.
    pub(super) const fn disable(&mut self) {
        self.status &= CSTS_RDY;
        self.interrupt_mask = 0;
    }
}

const fn set_low(register: &mut u64, value: u32) {
    *register = (*register & !0xffff_ffff | value as u64) & BASE_WRITABLE;
}

const fn set_high(register: &mut u64, value: u32) {
    *register = *register & 0xffff_ffff | (value as u64) << 32;
}
