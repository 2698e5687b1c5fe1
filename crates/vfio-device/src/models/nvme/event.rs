//! Asynchronous events: what the controller tells when it is not asked.

use super::command::Completion;
use super::identify::EVENT_REQUESTS;
use super::queue::BadDoorbell;
use super::status::Status;

/// Log page that tells more of an error.
const ERROR_LOG: u32 = 0x01;

/// Holds requests that wait for an event, and events that wait for a request.
#[derive(Debug, Default)]
pub(super) struct Events {
    requests: Vec<u16>,
    /// Requests that were given up and are to be completed for that reason.
    aborted: Vec<u16>,
    /// Result that tells of the last error.
    error: Option<u32>,
    /// The host has been told of an error and has not read the log since.
    told: bool,
}

impl Events {
    /// Keeps a request until there is something to tell.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) fn request(&mut self, command: u16) -> Result<(), Status> {
        if self.requests.len() + self.aborted.len() >= EVENT_REQUESTS {
            return Err(Status::EVENT_REQUEST_LIMIT);
        }
        self.requests.push(command);
        Ok(())
    }

    /// Gives a request up; tells whether it waited.
    pub(super) fn abort(&mut self, command: u16) -> bool {
        let found = self.requests.iter().position(|request| *request == command);
        self.aborted.extend(found.map(|at| self.requests.remove(at)));
        found.is_some()
    }

    /// Notes an error of the host.
    pub(super) fn bad_doorbell(&mut self, bad: BadDoorbell) {
        let kind = match bad {
            BadDoorbell::Register => 0,
            BadDoorbell::Value => 1,
        };
        self.error = Some(ERROR_LOG << 16 | kind << 8);
    }

    /// Notes that the host has read the log of errors.
    pub(super) fn acknowledge_errors(&mut self) {
        self.told = false;
    }

    /// Takes the completion of a request: one that was given up, or one for which there is something to tell.
    pub(super) fn take(&mut self) -> Option<Completion> {
        if let Some(command) = self.aborted.pop() {
            return Some(Completion::failure(0, command, Status::ABORT_REQUESTED));
        }
        if self.told || self.requests.is_empty() {
            return None;
        }
        let result = self.error.take()?;
        self.told = true;
        Some(Completion::success(0, self.requests.remove(0), result))
    }
}
