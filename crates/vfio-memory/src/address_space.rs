//! The address space of one simulated process: what lies at which virtual address.
//!
//! Addresses are names that are looked up here; none is ever dereferenced. Two of the kernel's routines carry
//! everything above: [`read`](AddressSpace::read) and [`write`](AddressSpace::write) are `copy_from_user` and
//! `copy_to_user`, [`get_pages`](AddressSpace::get_pages) is `get_user_pages`.
//!
//! The size of a page is the simulated system's, and single areas may have huge ones behind them.

mod extension;
mod huge;
mod layout;
#[cfg(target_os = "linux")]
mod other;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use vfio_uapi::Errno;

use crate::vma::Vma;
use crate::{HostSpan, Limits, LockedMemory, Memory, PAGE_SHIFT, PinError, Prot};
use extension::Extensions;
use layout::Areas;

pub use huge::Backing;

/// First address that no user area may reach (`TASK_SIZE_MAX` of x86-64).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Maps virtual addresses of one process to memory, and holds its locked-memory account.
#[derive(Debug)]
pub struct AddressSpace {
    areas: RwLock<Areas>,
    locked: LockedMemory,
    page_shift: u32,
    extensions: Extensions,
    /// The process of the operating system that it stands for.
    #[cfg(target_os = "linux")]
    process: Option<crate::Process>,
}

/// Describes one area, as a line of `/proc/PID/maps` would.
#[derive(Debug, Clone)]
pub struct VmaInfo {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// What lies there.
    pub memory: Memory,
    /// First byte inside `memory`.
    pub offset: u64,
    /// What may be done.
    pub prot: Prot,
    /// Locked by `mlock`.
    pub locked: bool,
}

impl AddressSpace {
    /// Starts an empty address space.
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::start(limits, PAGE_SHIFT)
    }

    /// Starts an empty address space on a system with pages of `page_size` bytes.
    ///
    /// # Errors
    /// `EINVAL` not a power of two between 4 KiB and 1 MiB.
    pub fn with_page_size(limits: Limits, page_size: u64) -> Result<Arc<Self>, Errno> {
        if !page_size.is_power_of_two() || !(12..=20).contains(&page_size.ilog2()) {
            return Err(Errno::EINVAL);
        }
        Ok(Self::start(limits, page_size.ilog2()))
    }

    fn start(limits: Limits, page_shift: u32) -> Arc<Self> {
        Arc::new(Self {
            areas: RwLock::new(Areas::new(1 << page_shift)),
            locked: LockedMemory::with_page_shift(limits, page_shift),
            page_shift,
            extensions: Extensions::default(),
            #[cfg(target_os = "linux")]
            process: None,
        })
    }

    /// Returns the size of the system's pages in bytes.
    pub fn page_size(&self) -> u64 {
        1 << self.page_shift
    }

    /// Returns the base-two logarithm of [`page_size`](Self::page_size).
    pub fn page_shift(&self) -> u32 {
        self.page_shift
    }

    /// Returns the locked-memory account of the process.
    pub fn locked(&self) -> &LockedMemory {
        &self.locked
    }

    /// Places `len` bytes of `memory` at an address and returns it (`mmap`).
    ///
    /// With a `hint` that is aligned, free and in user space, that is the address; otherwise the next free
    /// one upward from 0x7f00_0000_0000 that is a multiple of `align` (0 means a page), with a hole of at
    /// least a page before it. Addresses given up are not taken again until the space runs out, so a stale
    /// address faults instead of naming something new.
    ///
    /// # Errors
    /// `EINVAL` length zero, `align` not a power of two, `offset` not page aligned in mapped memory or the
    /// range not inside `memory`; `EACCES` writing asked of read-only memory; `ENOMEM` no free address.
    pub fn map(
        &self,
        hint: Option<u64>,
        align: u64,
        len: u64,
        memory: Memory,
        offset: u64,
        prot: Prot,
    ) -> Result<u64, Errno> {
        self.map_pages(hint, align, len, memory, offset, prot, self.page_shift)
    }

    /// As [`map`](Self::map), with pages of `1 << page_shift` bytes behind the area.
    #[expect(clippy::too_many_arguments, reason = "those of mmap, and the size of the pages behind it")]
    fn map_pages(
        &self,
        hint: Option<u64>,
        align: u64,
        len: u64,
        memory: Memory,
        offset: u64,
        prot: Prot,
        page_shift: u32,
    ) -> Result<u64, Errno> {
        self.is_ours()?;
        let align = align.max(1 << page_shift);
        let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
        if len == 0 || !align.is_power_of_two() || end > memory.len() {
            return Err(Errno::EINVAL);
        }
        if prot.contains(Prot::WRITE) && !memory.is_writable() {
            return Err(Errno::EACCES);
        }
        // The last page of memory that ends inside a page stays short: its missing bytes fault.
        let len = len.next_multiple_of(self.page_size()).min(memory.len() - offset);
        let mut areas = self.areas.write();
        let start = areas.place(hint, align, len).ok_or(Errno::ENOMEM)?;
        areas.insert(start, Vma { len, memory, offset, prot, locked: false, page_shift });
        Ok(start)
    }

    /// Removes whatever lies in the range, cutting areas that reach beyond it (`munmap`).
    ///
    /// # Errors
    /// `EINVAL` address not page aligned, length zero, or not in user space.
    pub fn unmap(&self, addr: u64, len: u64) -> Result<(), Errno> {
        self.is_ours()?;
        let end = self.page_range(addr, len).ok_or(Errno::EINVAL)?;
        self.take(addr, end);
        Ok(())
    }

    /// Removes what lies in `start..end`, whole pages, and gives the charge of what was locked back.
    fn take(&self, start: u64, end: u64) {
        let gone = self.areas.write().take(start, end);
        let pages =
            gone.iter().filter(|(_, area)| area.locked).map(|(_, area)| self.pages_of(area.len)).sum();
        self.locked.uncharge(pages);
        drop(gone); // outside the lock: giving memory back may take long
    }

    /// Changes what may be done in the range (`mprotect`).
    ///
    /// # Errors
    /// `EINVAL` address not page aligned; `ENOMEM` a hole in the range; `EACCES` writing asked of read-only
    /// memory. Nothing is changed then.
    pub fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        self.is_ours()?;
        if len == 0 && addr.is_multiple_of(self.page_size()) {
            return Ok(());
        }
        let end = self.whole_range(addr, len)?;
        let mut areas = self.areas.write();
        if !areas.covered(addr, end) {
            return Err(Errno::ENOMEM);
        }
        if prot.contains(Prot::WRITE) && areas.in_range(addr, end).any(|(_, a)| !a.memory.is_writable()) {
            return Err(Errno::EACCES);
        }
        areas.change(addr, end, |area| area.prot = prot);
        Ok(())
    }

    /// Locks the pages of the range and charges those that were not locked yet (`mlock`).
    ///
    /// # Errors
    /// `EPERM` the limit is zero and the process lacks `CAP_IPC_LOCK`; `EINVAL` the range wraps; `ENOMEM`
    /// over the limit, or a hole in the range. Nothing is changed then.
    pub fn mlock(&self, addr: u64, len: u64) -> Result<(), Errno> {
        self.is_ours()?;
        if self.locked.limits().memlock == 0 && !self.locked.cap_ipc_lock() {
            return Err(Errno::EPERM);
        }
        let Some((start, end)) = self.outer_pages(addr, len)? else { return Ok(()) };
        let mut areas = self.areas.write();
        if !areas.covered(start, end) {
            return Err(Errno::ENOMEM);
        }
        let fresh = |(at, area): (u64, &Vma)| {
            if area.locked { 0 } else { self.pages_of(end.min(at + area.len) - start.max(at)) }
        };
        let pages = areas.in_range(start, end).map(fresh).sum();
        self.locked.charge(pages)?;
        areas.change(start, end, |area| area.locked = true);
        Ok(())
    }

    /// Unlocks the pages of the range and gives their charge back (`munlock`).
    ///
    /// # Errors
    /// `EINVAL` the range wraps; `ENOMEM` a hole in the range.
    pub fn munlock(&self, addr: u64, len: u64) -> Result<(), Errno> {
        self.is_ours()?;
        let Some((start, end)) = self.outer_pages(addr, len)? else { return Ok(()) };
        let mut areas = self.areas.write();
        if !areas.covered(start, end) {
            return Err(Errno::ENOMEM);
        }
        let mut pages = 0;
        areas.change(start, end, |area| {
            pages += if area.locked { self.pages_of(area.len) } else { 0 };
            area.locked = false;
        });
        self.locked.uncharge(pages);
        Ok(())
    }

    /// Copies bytes from the process (`copy_from_user`).
    ///
    /// # Errors
    /// `EFAULT` some byte is not mapped, not readable, or its memory is gone; the bytes before it have been
    /// copied.
    pub fn read(&self, addr: u64, into: &mut [u8]) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            return process.read(addr, into);
        }
        let areas = self.areas.read();
        let mut done = 0;
        areas.walk(addr, into.len() as u64, Prot::READ, |span| {
            let piece = &mut into[done..done + span.len as usize];
            done += piece.len();
            span.memory.read(span.offset, piece)
        })
    }

    /// Copies bytes to the process (`copy_to_user`).
    ///
    /// # Errors
    /// `EFAULT` some byte is not mapped, not writable, or its memory is gone; the bytes before it have been
    /// copied.
    pub fn write(&self, addr: u64, from: &[u8]) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            return process.write(addr, from);
        }
        let areas = self.areas.read();
        let mut done = 0;
        areas.walk(addr, from.len() as u64, Prot::WRITE, |span| {
            let piece = &from[done..done + span.len as usize];
            done += piece.len();
            span.memory.write(span.offset, piece)
        })
    }

    /// Finds the memory behind a range (`get_user_pages`), one span per run of contiguous bytes.
    ///
    /// # Errors
    /// `EFAULT` some byte is not mapped, or not with the access wanted; the error carries what came before.
    pub fn get_pages(&self, addr: u64, len: u64, write: bool) -> Result<Vec<HostSpan>, PinError> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            return process.pages(addr, len, write, false);
        }
        let areas = self.areas.read();
        let mut spans: Vec<HostSpan> = Vec::new();
        let mut done = 0;
        let wanted = if write { Prot::WRITE } else { Prot::READ };
        let result = areas.walk(addr, len, wanted, |span| {
            done += span.len;
            if !spans.last_mut().is_some_and(|last| last.merge(&span)) {
                spans.push(span);
            }
            Ok(())
        });
        match result {
            Ok(()) => Ok(spans),
            Err(errno) => Err(PinError { errno, done, spans }),
        }
    }

    /// Finds the area around one address, and how far into it that is.
    ///
    /// # Errors
    /// `EFAULT` no area, or not with the access wanted.
    pub fn area_of(&self, addr: u64, write: bool) -> Result<(u64, HostSpan), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            return process.area_of(addr, write);
        }
        let wanted = if write { Prot::WRITE } else { Prot::READ };
        let areas = self.areas.read();
        let end = addr.checked_add(1).ok_or(Errno::EFAULT)?;
        let (start, area) = areas.in_range(addr, end).next().ok_or(Errno::EFAULT)?;
        if area.prot.contains(wanted) {
            Ok((addr - start, area.span(0, area.len)))
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Lists the areas in order of address.
    pub fn areas(&self) -> Vec<VmaInfo> {
        let info = |(start, area): (u64, &Vma)| VmaInfo {
            start,
            len: area.len,
            memory: area.memory.clone(),
            offset: area.offset,
            prot: area.prot,
            locked: area.locked,
        };
        self.areas.read().in_range(0, TASK_SIZE).map(info).collect()
    }

    /// Removes every area and clears the account (`exit_mmap`).
    pub fn clear(&self) {
        self.take(0, TASK_SIZE);
    }

    /// Refuses to change what another process has mapped.
    fn is_ours(&self) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        if self.process.is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(())
    }

    /// As [`get_pages`](Self::get_pages), and mapped memory of devices counts (`follow_pfn`), too.
    ///
    /// # Errors
    /// As [`get_pages`](Self::get_pages).
    pub fn get_frames(&self, addr: u64, len: u64, write: bool) -> Result<Vec<HostSpan>, PinError> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            return process.pages(addr, len, write, true);
        }
        self.get_pages(addr, len, write)
    }

    fn pages_of(&self, len: u64) -> u64 {
        len.div_ceil(self.page_size())
    }

    /// Returns the end of a page-aligned, non-empty user range.
    fn page_range(&self, addr: u64, len: u64) -> Option<u64> {
        let end = addr.checked_add(len.checked_next_multiple_of(self.page_size())?)?;
        (addr.is_multiple_of(self.page_size()) && len != 0 && end <= TASK_SIZE).then_some(end)
    }

    /// As [`page_range`](Self::page_range), with the errors of `mprotect`.
    fn whole_range(&self, addr: u64, len: u64) -> Result<u64, Errno> {
        if !addr.is_multiple_of(self.page_size()) {
            return Err(Errno::EINVAL);
        }
        self.page_range(addr, len).ok_or(Errno::ENOMEM)
    }

    /// Widens a range to the pages it touches; `None` when it is empty.
    fn outer_pages(&self, addr: u64, len: u64) -> Result<Option<(u64, u64)>, Errno> {
        let end = addr.checked_add(len).and_then(|end| end.checked_next_multiple_of(self.page_size()));
        let end = end.ok_or(Errno::EINVAL)?;
        let start = addr >> self.page_shift << self.page_shift;
        Ok((len != 0).then_some((start, end)))
    }
}
