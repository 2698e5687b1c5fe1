//! Log pages: errors, health, firmware, what commands do.

use std::time::Instant;

use super::command::Command;
use super::identify::ERROR_ENTRIES;
use super::profile::Profile;
use super::status::Status;
use super::{admin, io};

/// Number of the log of errors.
pub(super) const ERRORS: u8 = 0x01;
/// Number of the log of the controller's health.
pub(super) const HEALTH: u8 = 0x02;
/// Number of the log of firmware slots.
pub(super) const FIRMWARE: u8 = 0x03;
/// Number of the log of supported commands and their effects.
pub(super) const EFFECTS: u8 = 0x05;

const ERROR_SIZE: usize = 64;
const HEALTH_SIZE: usize = 512;
const EFFECTS_SIZE: usize = 4096;
/// Temperature that the controller reports, in kelvins.
const TEMPERATURE: u16 = 0x143;

/// Counts what health and errors are made of; a reset of the controller does not touch it.
#[derive(Debug)]
pub(super) struct Records {
    since: Instant,
    errors: u64,
    recent: [[u8; ERROR_SIZE]; ERROR_ENTRIES],
    bytes_read: u64,
    bytes_written: u64,
    reads: u64,
    writes: u64,
    media_errors: u64,
    abrupt_resets: u64,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            errors: 0,
            recent: [[0; ERROR_SIZE]; ERROR_ENTRIES],
            bytes_read: 0,
            bytes_written: 0,
            reads: 0,
            writes: 0,
            media_errors: 0,
            abrupt_resets: 0,
        }
    }
}

impl Records {
    /// Counts a read of so many bytes.
    pub(super) fn read(&mut self, bytes: u64) {
        self.reads += 1;
        self.bytes_read += bytes;
    }

    /// Counts a write of so many bytes.
    pub(super) fn written(&mut self, bytes: u64) {
        self.writes += 1;
        self.bytes_written += bytes;
    }

    /// Counts a reset that no shutdown preceded.
    pub(super) fn reset_abruptly(&mut self) {
        self.abrupt_resets += 1;
    }

    /// Notes a command that failed.
    pub(super) fn failed(&mut self, queue: u16, command: &Command, status: Status) {
        const NO_PARAMETER: u16 = 0xffff;
        self.errors += 1;
        self.media_errors += u64::from(status.is_of_media());
        self.recent.rotate_right(1);
        let mut entry = [0; ERROR_SIZE];
        entry[0..8].copy_from_slice(&self.errors.to_le_bytes());
        entry[8..10].copy_from_slice(&queue.to_le_bytes());
        entry[10..12].copy_from_slice(&command.id().to_le_bytes());
        entry[12..14].copy_from_slice(&(status.bits() << 1).to_le_bytes());
        entry[14..16].copy_from_slice(&NO_PARAMETER.to_le_bytes());
        if queue != 0 {
            entry[16..24].copy_from_slice(&command.wide::<10>().to_le_bytes());
        }
        entry[24..28].copy_from_slice(&command.namespace().to_le_bytes());
        self.recent[0] = entry;
    }

    /// Lays the log of errors out, the last one first.
    pub(super) fn errors(&self) -> Vec<u8> {
        self.recent.concat()
    }

    /// Lays the log of health out.
    pub(super) fn health(&self) -> Vec<u8> {
        let mut page = vec![0; HEALTH_SIZE];
        let mut put = |at: usize, value: u64| page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let hours = self.since.elapsed().as_secs() / 3600;
        put(32, data_units(self.bytes_read));
        put(48, data_units(self.bytes_written));
        put(64, self.reads);
        put(80, self.writes);
        put(112, 1);
        put(128, hours);
        put(144, self.abrupt_resets);
        put(160, self.media_errors);
        put(176, self.errors);
        page[1..3].copy_from_slice(&TEMPERATURE.to_le_bytes());
        // Spare blocks in per cent, and where a warning would begin.
        page[3] = 100;
        page[4] = 10;
        page
    }
}

/// Lays the log of firmware slots out: one slot, which is active.
pub(super) fn firmware(profile: &Profile) -> Vec<u8> {
    let mut page = vec![0; HEALTH_SIZE];
    page[0] = 1;
    page[8..16].copy_from_slice(&profile.firmware);
    page
}

/// Lays the log of commands and their effects out.
pub(super) fn effects() -> Vec<u8> {
    const SUPPORTED: u8 = 0x01;
    const CHANGES_BLOCKS: u8 = 0x02;
    const IO_COMMANDS: usize = 1024;
    let mut page = vec![0; EFFECTS_SIZE];
    for opcode in admin::OPCODES {
        page[usize::from(opcode) * 4] = SUPPORTED;
    }
    for opcode in io::OPCODES {
        let changes = if io::changes_blocks(opcode) { CHANGES_BLOCKS } else { 0 };
        page[IO_COMMANDS + usize::from(opcode) * 4] = SUPPORTED | changes;
    }
    page
}

/// Returns bytes in thousands of 512, begun ones too.
const fn data_units(bytes: u64) -> u64 {
    bytes.div_ceil(512 * 1000)
}
