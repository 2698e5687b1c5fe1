//! Features that the host can read and change.

use std::time::Instant;

use super::config::VECTORS;
use super::identify::WARNING_TEMPERATURE;
use super::status::Status;

const ARBITRATION: u8 = 0x01;
const POWER: u8 = 0x02;
const TEMPERATURE: u8 = 0x04;
const ERROR_RECOVERY: u8 = 0x05;
const WRITE_CACHE: u8 = 0x06;
/// Number of queues.
pub(super) const QUEUES: u8 = 0x07;
const COALESCING: u8 = 0x08;
const VECTOR: u8 = 0x09;
const ATOMICITY: u8 = 0x0a;
const EVENTS: u8 = 0x0b;
/// The time, which travels as data.
pub(super) const TIMESTAMP: u8 = 0x0e;
const COMMAND_SETS: u8 = 0x19;
/// Bytes of the time as data.
pub(super) const TIMESTAMP_SIZE: usize = 8;

const NO_COALESCING: u32 = 0x1_0000;
/// Queues whose number is the greatest that the field can hold, which is not allowed.
const TOO_MANY_QUEUES: u32 = 0xffff;
/// The time was set by the host.
const TIME_SET: u8 = 0x02;

/// Says which value of a feature is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    Current,
    Default,
    Capabilities,
}

impl Selection {
    /// Reads the field of a command; what is saved is what is the default.
    pub(super) const fn parse(bits: u32) -> Result<Self, Status> {
        match bits & 7 {
            0 => Ok(Self::Current),
            1 | 2 => Ok(Self::Default),
            3 => Ok(Self::Capabilities),
            _ => Err(Status::INVALID_FIELD),
        }
    }
}

/// Holds the features.
#[derive(Debug, Clone)]
pub(super) struct Features {
    values: [u32; COMMAND_SETS as usize + 1],
    /// Temperature below which the controller would warn.
    cold: u16,
    /// Vectors whose interrupts are never gathered.
    ungathered: u128,
    time: (u64, Instant),
    time_set: bool,
    queue_pairs: u16,
}

impl Features {
    /// Makes the features as they are after a reset.
    pub(super) fn new(queue_pairs: u16) -> Self {
        let mut values = [0; COMMAND_SETS as usize + 1];
        values[usize::from(TEMPERATURE)] = u32::from(WARNING_TEMPERATURE);
        values[usize::from(WRITE_CACHE)] = 1;
        Self { values, cold: 0, ungathered: 0, time: (0, Instant::now()), time_set: false, queue_pairs }
    }

    /// Returns a feature's value, of a vector or temperature that `detail` (dword 11) names.
    ///
    /// # Errors
    /// There is no such feature.
    pub(super) fn get(&self, id: u8, detail: u32, selection: Selection) -> Result<u32, Status> {
        const CHANGEABLE: u32 = 0x4;
        const OF_NAMESPACE: u32 = 0x2;
        if selection == Selection::Default {
            return Self::new(self.queue_pairs).get(id, detail, Selection::Current);
        }
        let changeable = match id {
            COMMAND_SETS => 0,
            ERROR_RECOVERY => CHANGEABLE | OF_NAMESPACE,
            ARBITRATION | POWER | TEMPERATURE | WRITE_CACHE | QUEUES | COALESCING | VECTOR | ATOMICITY
            | EVENTS | TIMESTAMP => CHANGEABLE,
            _ => return Err(Status::INVALID_FIELD),
        };
        if selection == Selection::Capabilities {
            return Ok(changeable);
        }
        Ok(match id {
            QUEUES => self.queues(),
            VECTOR => {
                let vector = vector(detail)?;
                vector | if self.ungathered >> vector & 1 != 0 { NO_COALESCING } else { 0 }
            }
            TEMPERATURE => match threshold(detail)? {
                Threshold::Over => self.values[usize::from(id)],
                Threshold::Under => u32::from(self.cold),
                Threshold::OfNoSensor => 0,
            },
            _ => self.values[usize::from(id)],
        })
    }

    /// Changes a feature to `value` (dword 11); returns what the completion tells.
    ///
    /// # Errors
    /// There is no such feature, it cannot be changed, or not to that.
    pub(super) fn set(&mut self, id: u8, value: u32) -> Result<u32, Status> {
        match id {
            QUEUES => {
                if value & 0xffff == TOO_MANY_QUEUES || value >> 16 == TOO_MANY_QUEUES {
                    return Err(Status::INVALID_FIELD);
                }
                return Ok(self.queues());
            }
            VECTOR => {
                let vector = vector(value)?;
                self.ungathered &= !(1 << vector);
                self.ungathered |= u128::from(value & NO_COALESCING != 0) << vector;
            }
            TEMPERATURE => match threshold(value)? {
                Threshold::Over => self.values[usize::from(id)] = value & 0xffff,
                Threshold::Under => self.cold = value as u16,
                Threshold::OfNoSensor => return Err(Status::INVALID_FIELD),
            },
            POWER if value & 0x1f != 0 => return Err(Status::INVALID_FIELD),
            COMMAND_SETS if value & 0x1ff != 0 => return Err(Status::INVALID_FIELD),
            COMMAND_SETS => {}
            ARBITRATION | POWER | ERROR_RECOVERY | COALESCING | EVENTS => {
                self.values[usize::from(id)] = value
            }
            WRITE_CACHE | ATOMICITY => self.values[usize::from(id)] = value & 1,
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(0)
    }

    /// Returns the number of queues of both kinds, as the feature tells it.
    fn queues(&self) -> u32 {
        let last = u32::from(self.queue_pairs - 1);
        last << 16 | last
    }

    /// Tells whether completions go to a cache first.
    pub(super) const fn has_write_cache(&self) -> bool {
        self.values[WRITE_CACHE as usize] & 1 != 0
    }

    /// Returns the time as data: milliseconds, and where they come from.
    pub(super) fn timestamp(&self) -> [u8; TIMESTAMP_SIZE] {
        let (base, since) = self.time;
        let elapsed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut bytes = base.wrapping_add(elapsed).to_le_bytes();
        bytes[6] = if self.time_set { TIME_SET } else { 0 };
        bytes[7] = 0;
        bytes
    }

    /// Sets the time from data.
    pub(super) fn set_timestamp(&mut self, mut bytes: [u8; TIMESTAMP_SIZE]) {
        bytes[6..].fill(0);
        self.time = (u64::from_le_bytes(bytes), Instant::now());
        self.time_set = true;
    }
}

/// Names a temperature that can be watched.
enum Threshold {
    Over,
    Under,
    OfNoSensor,
}

fn threshold(detail: u32) -> Result<Threshold, Status> {
    match (detail >> 16 & 0xf, detail >> 20 & 3) {
        (0, 0) => Ok(Threshold::Over),
        (0, 1) => Ok(Threshold::Under),
        (_, 0 | 1) => Ok(Threshold::OfNoSensor),
        _ => Err(Status::INVALID_FIELD),
    }
}

fn vector(detail: u32) -> Result<u32, Status> {
    let vector = detail & 0xffff;
    if vector < u32::from(VECTORS) { Ok(vector) } else { Err(Status::INVALID_FIELD) }
}
