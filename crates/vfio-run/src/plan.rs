//! What to run, and the steps before.

use std::ffi::CString;
use std::fmt;

use vfio_uapi::Errno;

/// One step in the new namespace.
#[derive(Debug, Clone)]
pub enum Action {
    /// An empty file system in memory.
    Empty(CString),
    /// A directory.
    Directory(CString),
    /// An empty file, to mount another on.
    File(CString),
    /// A symbolic link: target, place.
    Link(CString, CString),
    /// What is at the first path appears at the second as well, with all that is mounted below. A first path that begins with
    /// `@` means what the namespace had there before the first step.
    Bind(CString, CString),
    /// The machine's file system, which is nowhere yet.
    Machine(CString),
    /// What is mounted there is taken away.
    Remove(CString),
}

impl Action {
    /// Returns the path that it is about.
    #[must_use]
    pub fn path(&self) -> &CString {
        match self {
            Self::Empty(path) | Self::Directory(path) | Self::File(path) | Self::Machine(path) => path,
            Self::Remove(path) | Self::Link(_, path) | Self::Bind(_, path) => path,
        }
    }
}

/// A program and its surroundings.
#[derive(Debug, Clone)]
pub struct Plan {
    /// File of the program.
    pub program: CString,
    /// Arguments, its name first.
    pub arguments: Vec<CString>,
    /// Environment, `NAME=value`.
    pub environment: Vec<CString>,
    /// Working directory.
    pub directory: CString,
    /// Steps in the new namespace.
    pub actions: Vec<Action>,
    /// Requests that stop until they are answered.
    pub ioctls: Vec<u32>,
}

/// Says what could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: String,
    /// Why.
    pub errno: Errno,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Failure {
    pub(crate) fn new(step: impl Into<String>, errno: Errno) -> Self {
        Self { step: step.into(), errno }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.errno.name())
    }
}

impl std::error::Error for Failure {}
