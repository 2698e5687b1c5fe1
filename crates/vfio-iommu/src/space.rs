//! The device's view of memory: what a DMA can do, and how it fails.

use std::fmt;

use vfio_memory::{HostSpan, Prot};
use vfio_uapi::Errno;

use crate::{Iova, Stopped};

/// Says which way a DMA goes, from the device's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// The device reads memory.
    Read,
    /// The device writes memory.
    Write,
}

impl Access {
    /// Returns the right that the access needs.
    #[must_use]
    pub const fn prot(self) -> Prot {
        match self {
            Self::Read => Prot::READ,
            Self::Write => Prot::WRITE,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Gives the reason for which a DMA was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultReason {
    /// Nothing is mapped at the address.
    NoMapping,
    /// The mapping forbids this access.
    Permission,
    /// The address lies outside every window of the space.
    OutsideWindow,
    /// The memory behind the mapping is gone, or not reachable from this thread.
    Detached,
    /// An atomic operation on an address that is not a multiple of its size.
    Misaligned,
    /// The device was cut off after an error, until it is recovered.
    Frozen,
    /// The device's bus mastering is off.
    BusMasterOff,
    /// The device is attached to no address space.
    NotAttached,
    /// The memory is only reachable by messages, which a synchronous access cannot wait for.
    WouldBlock,
    /// There is no memory for a request of this size.
    OutOfMemory,
    /// The page was asked for, which a synchronous access cannot wait for.
    PageRequested,
    /// A guest's page table makes no sense, or does not lie in its memory.
    BrokenTable,
    /// A guest's page table leads to memory that the guest does not have.
    Unbacked,
}

impl FaultReason {
    /// Returns the reason in a few words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoMapping => "nothing is mapped there",
            Self::Permission => "the mapping forbids it",
            Self::OutsideWindow => "the address is outside every DMA window",
            Self::Detached => "the memory behind the mapping is gone",
            Self::Misaligned => "the address is not aligned for an atomic operation",
            Self::Frozen => "the device is frozen after an error",
            Self::BusMasterOff => "bus mastering is off",
            Self::NotAttached => "the device is attached to no address space",
            Self::WouldBlock => "the memory is only reachable by messages",
            Self::OutOfMemory => "there is no memory for a request of this size",
            Self::PageRequested => "its page was asked for and is not there yet",
            Self::BrokenTable => "the guest's page table makes no sense",
            Self::Unbacked => "the guest's page table leads to memory that it does not have",
        }
    }
}

/// Reports a refused DMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaFault {
    /// The first address that was refused.
    pub iova: Iova,
    /// Bytes of the request from there on.
    pub len: u64,
    /// Which way it went.
    pub access: Access,
    /// Why it was refused.
    pub reason: FaultReason,
}

impl DmaFault {
    /// Returns the errno a caller sees: `EAGAIN` would block, `ENOMEM` out of memory, `EINVAL` misaligned,
    /// `ENODEV` not attached, `EFAULT` otherwise.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self.reason {
            FaultReason::WouldBlock | FaultReason::PageRequested => Errno::EAGAIN,
            FaultReason::OutOfMemory => Errno::ENOMEM,
            FaultReason::Misaligned => Errno::EINVAL,
            FaultReason::NotAttached => Errno::ENODEV,
            _ => Errno::EFAULT,
        }
    }
}

impl fmt::Display for DmaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iova, len, access, reason } = self;
        write!(f, "DMA {access} of {len:#x} bytes at {iova:#x} refused: {}", reason.text())
    }
}

impl std::error::Error for DmaFault {}

/// Tells where an address leads at this moment; a diagnostic, not a licence to touch the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// Host address of the byte.
    pub host: u64,
    /// Bytes that follow it contiguously, itself included.
    pub len: u64,
}

/// Stands for an address that was refused, in a batch.
pub const REFUSED: u64 = u64::MAX;

/// Takes the bytes of a submitted read.
pub type ReadDone = Box<dyn FnOnce(Result<Vec<u8>, DmaFault>) + Send>;

/// Takes the result of a submitted write.
pub type WriteDone = Box<dyn FnOnce(Result<(), DmaFault>) + Send>;

/// Lets a device reach memory by its own addresses.
///
/// An access translates and copies inside one epoch of the table behind it, so when an unmap has returned no
/// access can still reach the old memory. No implementation calls device code while it does so.
pub trait DmaSpace: Send + Sync {
    /// Copies bytes from memory; up to eight naturally aligned bytes arrive untorn.
    ///
    /// # Errors
    /// The first address refused. Nothing is copied then, unless the space changes at the same moment.
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault>;

    /// Copies bytes to memory; up to eight naturally aligned bytes appear untorn.
    ///
    /// # Errors
    /// The first address refused. Nothing is copied then, unless the space changes at the same moment.
    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault>;

    /// Sets `len` bytes of memory to `byte`.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault>;

    /// Stores `new` if the word equals `current`, atomically; returns what was there.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and when the address is not a multiple of the word.
    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault>;

    /// Stores `new` if the word equals `current`, atomically; returns what was there.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and when the address is not a multiple of the word.
    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault>;

    /// Adds to the word atomically, wrapping; returns what was there.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and when the address is not a multiple of the word.
    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault>;

    /// Adds to the word atomically, wrapping; returns what was there.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and when the address is not a multiple of the word.
    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault>;

    /// Tells where `iova` leads at this moment.
    ///
    /// # Errors
    /// The reason for which an access would be refused.
    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault>;

    /// As [`translate`](Self::translate), where that takes no lock, calls nobody and records nothing; none says nothing.
    fn peek(&self, _iova: Iova, _access: Access) -> Option<Translation> {
        None
    }

    /// Replaces each address by the host address it leads to at this moment, or by [`REFUSED`]; returns how many
    /// were not refused. Nothing is recorded of those that were.
    fn translate_batch(&self, iovas: &mut [u64], access: Access) -> usize {
        translate_each(iovas, |iova| self.translate(iova, access))
    }

    /// Reads segments, each an address and a length, into consecutive parts of `into`, whose end is the end.
    ///
    /// # Errors
    /// As for [`read`](Self::read) of the first segment that is refused; those before it were read.
    fn read_batch(&self, segments: &[[u64; 2]], into: &mut [u8]) -> Result<(), DmaFault> {
        gather(segments, into, |iova, piece| self.read(iova, piece))
    }

    /// Writes consecutive parts of `from` to segments, each an address and a length, up to the end of `from`.
    ///
    /// # Errors
    /// As for [`write`](Self::write) of the first segment that is refused; those before it were written.
    fn write_batch(&self, segments: &[[u64; 2]], from: &[u8]) -> Result<(), DmaFault> {
        scatter(segments, from, |iova, piece| self.write(iova, piece))
    }

    /// Reads `len` bytes and hands them to `done`: at once, or when the memory's owner has answered.
    ///
    /// Works on every kind of memory. `done` may run on another thread, and is never run inside an epoch.
    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            let fault =
                DmaFault { iova, len: len as u64, access: Access::Read, reason: FaultReason::OutOfMemory };
            return done(Err(fault));
        }
        bytes.resize(len, 0);
        let result = self.read(iova, &mut bytes);
        done(result.map(|()| bytes));
    }

    /// Writes `data` and tells `done`: at once, or when the memory's owner has answered.
    ///
    /// Works on every kind of memory. `done` may run on another thread, and is never run inside an epoch.
    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        done(self.write(iova, &data));
    }

    /// Tells what the device is cut off from at this moment; none where errors never cut it off.
    fn stopped(&self) -> Option<Stopped> {
        None
    }

    /// Returns what the device sees by a PASID, from 1 on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` by default: there are none; `EINVAL` no such PASID.
    fn with_pasid(&self, _pasid: u32) -> Result<std::sync::Arc<dyn DmaSpace>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Pins pages for a driver that keeps them (`vfio_pin_pages`), until
    /// [`unpin_pages`](Self::unpin_pages).
    ///
    /// # Errors
    /// `EINVAL` by default: a space behind hardware pins at map time.
    fn pin_pages(&self, _iova: Iova, _npages: u64, _prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Releases pages that were pinned (`vfio_unpin_pages`).
    fn unpin_pages(&self, _iova: Iova, _npages: u64) {}

    /// Pins one page at each address, and stores in `hosts` where each lies, [`REFUSED`] where that may change.
    ///
    /// # Errors
    /// As for [`pin_pages`](Self::pin_pages), and `EINVAL` when `hosts` has another length; nothing is pinned
    /// then.
    fn pin_batch(&self, _iovas: &[u64], _prot: Prot, _hosts: &mut [u64]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Releases one pin of the page at each address.
    fn unpin_batch(&self, iovas: &[u64]) {
        iovas.iter().for_each(|iova| self.unpin_pages(*iova, 1));
    }
}

/// Translates in place; see [`DmaSpace::translate_batch`].
#[inline]
pub(crate) fn translate_each(
    iovas: &mut [u64],
    translate: impl Fn(Iova) -> Result<Translation, DmaFault>,
) -> usize {
    let mut done = 0;
    for iova in iovas {
        let host = translate(*iova).ok().map(|found| found.host);
        done += usize::from(host.is_some());
        *iova = host.unwrap_or(REFUSED);
    }
    done
}

/// Deals `into` out to segments; see [`DmaSpace::read_batch`].
#[inline]
pub(crate) fn gather(
    segments: &[[u64; 2]],
    mut into: &mut [u8],
    read: impl Fn(Iova, &mut [u8]) -> Result<(), DmaFault>,
) -> Result<(), DmaFault> {
    for [iova, len] in segments {
        let len = usize::try_from(*len).unwrap_or(usize::MAX).min(into.len());
        let (piece, rest) = into.split_at_mut(len);
        read(*iova, piece)?;
        into = rest;
    }
    Ok(())
}

/// Deals `from` out to segments; see [`DmaSpace::write_batch`].
#[inline]
pub(crate) fn scatter(
    segments: &[[u64; 2]],
    mut from: &[u8],
    write: impl Fn(Iova, &[u8]) -> Result<(), DmaFault>,
) -> Result<(), DmaFault> {
    for [iova, len] in segments {
        let len = usize::try_from(*len).unwrap_or(usize::MAX).min(from.len());
        let (piece, rest) = from.split_at(len);
        write(*iova, piece)?;
        from = rest;
    }
    Ok(())
}
