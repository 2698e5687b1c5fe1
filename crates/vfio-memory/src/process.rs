//! Memory of another process of the operating system, reached as the kernel reaches its callers'.
//!
//! Arguments are copied by `process_vm_readv` and `process_vm_writev`, which respect what the process may do with its pages.
//! What is to be reached for longer is looked up in its list of mappings: memory that it shares (memfds, shared anonymous
//! pages) is reached through the file behind it, which outlives both the mapping and the process, as pinned pages do; private
//! memory through `/proc/PID/mem`, which is bound to the address space and never to a number that another process may get.
//! Nothing of it is ever mapped here: what the process does to its memory makes an access fail, and nothing else.

mod copy;
mod maps;
mod rights;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, MemfdFlags, StatxFlags, fstat, memfd_create, statx};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vfio_uapi::Errno;

use crate::{HostSpan, Limits, Memory, PinError, Prot};
use maps::{Area, Device};

/// Files of shared memory that are kept open for one process; what is beyond is reached as private memory is.
const MOST_FILES: usize = 256;

/// A process, however long it lives.
pub struct Process {
    pidfd: OwnedFd,
    pid: i32,
    /// Device number of the file system that shared memory lives on.
    shared_memory: Device,
    /// Mappings of files there are a device's own memory.
    device_memory: Option<Device>,
    memory: Mutex<Reached>,
}

/// What its memory has been reached through.
#[derive(Default)]
struct Reached {
    private: Option<Memory>,
    files: HashMap<u64, Memory>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Process {
    /// Takes hold of the process with that number. Mappings of files of `device_memory`, a file system by one of its
    /// descriptors, are taken for memory of devices.
    ///
    /// # Errors
    /// `ESRCH` there is none; `EINVAL` it is a thread of one; `EMFILE`, `ENFILE`.
    pub fn open(pid: i32, device_memory: Option<BorrowedFd<'_>>) -> Result<Self, Errno> {
        let number = Pid::from_raw(pid).ok_or(Errno::ESRCH)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(errno)?;
        let probe = memfd_create("vfio-probe", MemfdFlags::CLOEXEC).map_err(errno)?;
        let shared_memory = Device::of(fstat(&probe).map_err(errno)?.st_dev);
        let device_memory = device_memory.map(file_system).transpose()?;
        Ok(Self { pidfd, pid, shared_memory, device_memory, memory: Mutex::default() })
    }

    /// Returns its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns a descriptor of it, which is readable once it has ended.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Tells whether it has not ended.
    pub fn is_alive(&self) -> bool {
        let mut ready = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Returns what limits it has now.
    ///
    /// # Errors
    /// `ESRCH` it has ended.
    pub fn limits(&self) -> Result<Limits, Errno> {
        rights::limits(self.pid).filter(|_| self.is_alive()).ok_or(Errno::ESRCH)
    }

    /// Tells whether it has the capability with that number.
    pub fn is_capable(&self, capability: u32) -> bool {
        rights::capabilities(self.pid).is_some_and(|bits| bits >> (capability & 63) & 1 != 0)
            && self.is_alive()
    }

    /// Takes a descriptor of the process over (`pidfd_getfd`).
    ///
    /// # Errors
    /// `EBADF` it has none with that number; `ESRCH` it has ended; `EPERM`; `EMFILE`.
    pub fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        rustix::process::pidfd_getfd(&self.pidfd, fd, rustix::process::PidfdGetfdFlags::empty())
            .map_err(errno)
    }

    /// Copies bytes from it (`copy_from_user`).
    ///
    /// # Errors
    /// `EFAULT` some byte is not there or not readable, or the process has ended.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        copy::read(self.pid, address, into)?;
        // What was read was its own, and not that of a process which got its number.
        if self.is_alive() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies bytes to it (`copy_to_user`).
    ///
    /// # Errors
    /// `EFAULT` some byte is not there or not writable, or the process has ended; bytes before it may have been copied.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        if !self.is_alive() {
            return Err(Errno::EFAULT);
        }
        copy::write(self.pid, address, from)
    }

    /// Finds the memory behind a range. With `devices`, mapped memory of devices counts, though nothing can be reached there.
    ///
    /// # Errors
    /// `EFAULT` some byte is not mapped, or not with the access wanted; the error carries what came before.
    pub fn pages(
        &self,
        address: u64,
        len: u64,
        write: bool,
        devices: bool,
    ) -> Result<Vec<HostSpan>, PinError> {
        let mut found = PinError { errno: Errno::EFAULT, done: 0, spans: Vec::new() };
        let Some(end) = address.checked_add(len) else { return Err(found) };
        let wanted = if write { Prot::WRITE } else { Prot::READ };
        for area in self.areas() {
            let at = address + found.done;
            if at >= end || area.start > at {
                break;
            }
            if area.end <= at {
                continue;
            }
            let is_device = Some(area.device) == self.device_memory;
            if !area.prot.contains(wanted) || (is_device && !devices) {
                break;
            }
            let span = self.span(&area, at, end.min(area.end) - at, is_device);
            let Some(span) = span else { break };
            found.done += span.len;
            if !found.spans.last_mut().is_some_and(|last| last.merge(&span)) {
                found.spans.push(span);
            }
        }
        if address + found.done == end { Ok(found.spans) } else { Err(found) }
    }

    /// Finds the mapping around an address, and how far into it that is.
    ///
    /// # Errors
    /// `EFAULT` there is none, or not with the access wanted.
    pub fn area_of(&self, address: u64, write: bool) -> Result<(u64, HostSpan), Errno> {
        let wanted = if write { Prot::WRITE } else { Prot::READ };
        let around = |area: &Area| (area.start..area.end).contains(&address);
        let area =
            self.areas().find(around).filter(|area| area.prot.contains(wanted)).ok_or(Errno::EFAULT)?;
        let is_device = Some(area.device) == self.device_memory;
        let span = self.span(&area, area.start, area.end - area.start, is_device).ok_or(Errno::EFAULT)?;
        Ok((address - area.start, span))
    }

    fn areas(&self) -> impl Iterator<Item = Area> {
        let text = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let text = if self.is_alive() { text } else { String::new() };
        text.lines().filter_map(Area::parse).collect::<Vec<_>>().into_iter()
    }

    /// Names the memory behind a part of a mapping.
    fn span(&self, area: &Area, at: u64, len: u64, is_device: bool) -> Option<HostSpan> {
        if is_device {
            return Some(HostSpan { memory: Memory::unreachable(len), offset: 0, len });
        }
        if area.shared
            && area.device == self.shared_memory
            && let Some(memory) = self.file(area)
        {
            return Some(HostSpan { memory, offset: area.offset + (at - area.start), len });
        }
        Some(HostSpan { memory: self.private(at)?, offset: at, len })
    }

    /// The file behind a mapping of shared memory.
    fn file(&self, area: &Area) -> Option<Memory> {
        let mut reached = self.memory.lock();
        if let Some(known) = reached.files.get(&area.inode) {
            return Some(known.clone());
        }
        // Files that nobody needs any more are let go before there are too many.
        if reached.files.len() >= MOST_FILES {
            reached.files.retain(|_, file| file.handles() > 1);
        }
        if reached.files.len() >= MOST_FILES {
            return None;
        }
        let path = format!("/proc/{}/map_files/{:x}-{:x}", self.pid, area.start, area.end);
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let stat = fstat(&file).ok()?;
        if stat.st_ino != area.inode || Device::of(stat.st_dev) != area.device {
            return None;
        }
        let memory = Memory::whole_file(OwnedFd::from(file));
        reached.files.insert(area.inode, memory.clone());
        Some(memory)
    }

    /// All of its address space, from address 0 on; made anew when another program runs in the process.
    fn private(&self, address: u64) -> Option<Memory> {
        let mut reached = self.memory.lock();
        if let Some(known) = reached.private.as_ref().filter(|known| known.read(address, &mut [0]).is_ok()) {
            return Some(known.clone());
        }
        let open = |write| File::options().read(true).write(write).open(format!("/proc/{}/mem", self.pid));
        let memory = Memory::address_space(OwnedFd::from(open(true).ok()?));
        if !self.is_alive() {
            return None;
        }
        reached.private = Some(memory.clone());
        Some(memory)
    }
}

/// Returns the device number of a file's file system, without asking the file system, which may be served by this thread.
fn file_system(fd: BorrowedFd<'_>) -> Result<Device, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(fd, c"", flags, StatxFlags::empty()).map_err(errno)?;
    Ok(Device::new(stat.stx_dev_major, stat.stx_dev_minor))
}

/// Translates a system error; the numbers are Linux's own here.
fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_code(error.raw_os_error()).unwrap_or(Errno::EIO)
}
