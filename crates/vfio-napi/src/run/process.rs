//! `NativeProcess`: a process of the operating system that calls the machine's files.

use std::os::fd::{AsFd, AsRawFd};
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi_derive::napi;
use vfio_device::EventFd;
use vfio_memory::{AddressSpace, Memory, Process};
use vfio_uapi::Errno;

use crate::address_space::NativeAddressSpace;
use crate::errno::{Result, throw};
use crate::event_fd::NativeEventFd;
use crate::fd;
use crate::fuse::identify;
use crate::memory::{MemoryKind, NativeMemory};

/// A process, its descriptors and rights.
#[napi]
pub struct NativeProcess {
    space: Arc<AddressSpace>,
    device: u64,
}

impl RefUnwindSafe for NativeProcess {}

/// What a descriptor of a process stands for.
#[napi(object, object_from_js = false)]
pub struct ProcessFile {
    /// `handle`: one of the machine's files; `eventfd`, `memory` or `other`.
    pub kind: &'static str,
    /// Handle of the machine's file.
    pub handle: Option<f64>,
    /// Node of it.
    pub node: Option<f64>,
}

/// Takes hold of the process with that number; mappings of the machine's files are memory of devices.
pub(crate) fn of_process(pid: i32, machine: i32) -> std::result::Result<Arc<AddressSpace>, Errno> {
    let machine = fd::duplicate(machine)?;
    AddressSpace::of_process(Process::open(pid, Some(machine.as_fd()))?)
}

#[napi]
impl NativeProcess {
    /// Looks at the process behind an address space.
    #[napi(constructor, catch_unwind)]
    pub fn new(space: &NativeAddressSpace, machine: i32) -> Result<Self> {
        let space = space.shared();
        space.process().ok_or_else(|| throw(Errno::ESRCH))?;
        let machine = fd::duplicate(machine).map_err(throw)?;
        Ok(Self { space, device: vfio_run::device_of(machine.as_fd()).map_err(throw)? })
    }

    /// Tells whether it has not ended.
    #[napi(catch_unwind)]
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.space.process().is_some_and(Process::is_alive))
    }

    /// Has its limits apply as they are now.
    #[napi(catch_unwind)]
    pub fn refresh(&self) -> Result<()> {
        let limits = self.process()?.limits().map_err(throw)?;
        self.space.locked().set_limits(limits);
        Ok(())
    }

    /// Tells whether it has the capability with that number.
    #[napi(catch_unwind)]
    pub fn is_capable(&self, capability: u32) -> Result<bool> {
        Ok(self.process()?.is_capable(capability))
    }

    /// Tells what a descriptor stands for.
    #[napi(catch_unwind)]
    pub fn look_up(&self, fd: i32) -> Result<ProcessFile> {
        let file = self.process()?.descriptor(fd).map_err(throw)?;
        if vfio_run::device_of(file.as_fd()).map_err(throw)? == self.device {
            let [handle, node] = identify(file.as_fd()).map_err(throw)?;
            return Ok(ProcessFile { kind: "handle", handle: Some(handle as f64), node: Some(node as f64) });
        }
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
        let text = link.to_string_lossy();
        let kind = match () {
            () if text == "anon_inode:[eventfd]" => "eventfd",
            () if text.starts_with("/memfd:") => "memory",
            () => "other",
        };
        Ok(ProcessFile { kind, handle: None, node: None })
    }

    /// Takes part in an eventfd of the process.
    #[napi(catch_unwind)]
    pub fn event(&self, fd: i32) -> Result<NativeEventFd> {
        let file = self.process()?.descriptor(fd).map_err(throw)?;
        NativeEventFd::wrap(EventFd::from_fd(file).map_err(throw)?)
    }

    /// Takes part in a memfd of the process.
    #[napi(catch_unwind)]
    pub fn memory(&self, fd: i32) -> Result<NativeMemory> {
        let file = self.process()?.descriptor(fd).map_err(throw)?;
        let length = std::fs::File::from(file.try_clone().map_err(|_| throw(Errno::EMFILE))?);
        let length = length.metadata().map_or(0, |metadata| metadata.len());
        let memory =
            match Memory::from_fd(file.try_clone().map_err(|_| throw(Errno::EMFILE))?, 0, length, true) {
                Err(Errno::EACCES | Errno::EPERM) => Memory::from_fd(file, 0, length, false),
                made => made,
            };
        NativeMemory::wrap(memory.map_err(throw)?, MemoryKind::File)
    }
}

impl NativeProcess {
    fn process(&self) -> Result<&Process> {
        self.space.process().ok_or_else(|| throw(Errno::ESRCH))
    }
}
