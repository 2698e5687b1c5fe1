//! Events of a virtual IOMMU, numbered, for user space to read (`IOMMUFD_OBJ_VEVENTQ`).
//!
//! The queue has room for so many; what comes then is lost, and a mark at the end tells so until an event comes that
//! has room: the gap in the numbers tells then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use super::page_requests::ReadyListener;

/// Bytes in front of each event: flags and number.
const HEADER: usize = 8;
/// Flag of the mark.
const LOST_EVENTS: u32 = 1;
/// The numbers go from 0 to this.
const LAST_SEQUENCE: u32 = i32::MAX as u32;

/// Keeps events until they are read.
pub struct EventQueue {
    depth: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<(u32, Vec<u8>)>,
    /// The number of the last event that was lost, if no other has come since.
    lost: Option<u32>,
    sequence: u32,
    listener: Option<ReadyListener>,
}

impl EventQueue {
    /// Makes a queue with room for `depth` events.
    #[must_use]
    pub fn new(depth: u32) -> Arc<Self> {
        Arc::new(Self { depth: depth as usize, inner: Mutex::default() })
    }

    /// Has `listener` be told when there is something to read.
    pub fn on_ready(&self, listener: Option<ReadyListener>) {
        let old = std::mem::replace(&mut self.inner.lock().listener, listener);
        drop(old);
    }

    /// Adds an event, or notes that it was lost.
    pub fn report(&self, data: &[u8]) {
        let listener = {
            let mut inner = self.inner.lock();
            let sequence = inner.sequence;
            inner.sequence = if sequence == LAST_SEQUENCE { 0 } else { sequence + 1 };
            if inner.events.len() >= self.depth {
                inner.lost = Some(sequence);
            } else {
                inner.lost = None;
                inner.events.push_back((sequence, data.to_vec()));
            }
            inner.listener.clone()
        };
        if let Some(listener) = listener {
            listener();
        }
    }

    /// Tells whether there is something to read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let inner = self.inner.lock();
        !inner.events.is_empty() || inner.lost.is_some()
    }

    /// Reads headers with their events, as many as fit into `room` bytes.
    ///
    /// # Errors
    /// `EINVAL` no room for a header, or for the first event.
    pub fn read(&self, room: usize) -> Result<Vec<u8>, Errno> {
        if room < HEADER {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.inner.lock();
        let mut bytes = Vec::new();
        while let Some((sequence, data)) = inner.events.front() {
            if HEADER + data.len() > room - bytes.len() {
                let nothing = bytes.is_empty();
                return if nothing { Err(Errno::EINVAL) } else { Ok(bytes) };
            }
            bytes.extend(header(0, *sequence));
            bytes.extend(data);
            inner.events.pop_front();
        }
        if let Some(sequence) = inner.lost
            && HEADER <= room - bytes.len()
        {
            bytes.extend(header(LOST_EVENTS, sequence));
            inner.lost = None;
        }
        Ok(bytes)
    }
}

fn header(flags: u32, sequence: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&flags.to_le_bytes());
    bytes[4..].copy_from_slice(&sequence.to_le_bytes());
    bytes
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").field("depth", &self.depth).finish_non_exhaustive()
    }
}
