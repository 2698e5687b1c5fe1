//! The client's memory as an address space of ours: by descriptor where one came, by message elsewhere.
//!
//! Memory with a descriptor is mapped into an [`IoPageTable`], so that device models do their DMA as behind any
//! other IOMMU. Memory without one is only known: a synchronous access to it would have to wait for a message and is
//! refused with `WouldBlock`; a submitted one goes over the wire.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_iommu::{
    Access, DmaFault, DmaSpace, FaultReason, IoPageTable, Iova, IovaRange, ReadDone, Translation, WriteDone,
};
use vfio_memory::{Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use crate::message::{Command, DmaCopy};
use crate::requests::Requests;
use crate::socket::Socket;
use crate::turnstile::{MAX_MESSAGE, Turnstile};

/// Carries messages to the client, as long as it is there.
pub(crate) trait Carrier: Send + Sync {
    /// The connection's requests and its socket.
    fn parts(&self) -> (&Requests, &Socket);
    /// Bytes that one message may carry.
    fn max_transfer(&self) -> usize;
}

/// Memory that a client lent.
pub(crate) struct GuestMemory {
    table: IoPageTable,
    windows: Mutex<BTreeMap<Iova, Window>>,
    max_windows: usize,
    carrier: Weak<dyn Carrier>,
    turnstile: Arc<Turnstile>,
}

#[derive(Clone, Copy)]
struct Window {
    last: Iova,
    prot: Prot,
    /// Reachable by message only.
    by_message: bool,
}

impl GuestMemory {
    pub(crate) fn new(carrier: Weak<dyn Carrier>, max_windows: usize) -> Self {
        Self {
            table: IoPageTable::new(),
            windows: Mutex::default(),
            max_windows,
            carrier,
            turnstile: Arc::default(),
        }
    }

    /// Takes memory in.
    ///
    /// # Errors
    /// `EINVAL` empty, wrapping or misaligned range, file too short; `EEXIST` overlap; `ENOSPC` too many;
    /// `EACCES`, `ENODEV` a descriptor that cannot be mapped; `ENOMEM`.
    pub(crate) fn map(
        &self,
        iova: Iova,
        size: u64,
        prot: Prot,
        source: Option<(OwnedFd, u64)>,
    ) -> Result<(), Errno> {
        let range = IovaRange::sized(iova, size).ok_or(Errno::EINVAL)?;
        if !range.is_aligned(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let mut windows = self.windows.lock();
        if overlapping(&windows, range).next().is_some() {
            return Err(Errno::EEXIST);
        }
        if windows.len() >= self.max_windows {
            return Err(Errno::ENOSPC);
        }
        let by_message = source.is_none();
        if let Some((fd, offset)) = source {
            let memory = Memory::from_fd(fd, offset, size, prot.contains(Prot::WRITE))?;
            self.table.map(range, &memory, 0, prot)?;
        }
        windows.insert(range.start(), Window { last: range.last(), prot, by_message });
        Ok(())
    }

    /// Lets every window inside `range` go; no DMA reaches them when this returns. Nothing there is no error: a
    /// virtual IOMMU has ranges unmapped that were never mapped as such.
    ///
    /// # Errors
    /// `EINVAL` the range would cut a window.
    pub(crate) fn unmap(&self, range: IovaRange) -> Result<(), Errno> {
        let mut windows = self.windows.lock();
        let inside: Vec<(Iova, Window)> = overlapping(&windows, range).collect();
        if inside.iter().any(|(start, window)| *start < range.start() || window.last > range.last()) {
            return Err(Errno::EINVAL);
        }
        for (start, window) in inside {
            windows.remove(&start);
            if let (false, Some(range)) = (window.by_message, IovaRange::new(start, window.last)) {
                self.table.unmap(range)?;
            }
        }
        Ok(())
    }

    /// Lets everything go.
    pub(crate) fn unmap_all(&self) {
        self.windows.lock().clear();
        self.table.unmap(IovaRange::ALL).expect("the whole space is aligned");
    }

    /// Splits an access into what is mapped and what is known by message; the reason why it cannot be otherwise.
    fn by_message(&self, iova: Iova, len: usize, access: Access) -> Result<bool, DmaFault> {
        let fault = |reason| DmaFault { iova, len: len as u64, access, reason };
        let Some(range) = IovaRange::sized(iova, len as u64) else { return Ok(false) };
        let windows = self.windows.lock();
        let mut next = range.start();
        let mut message = false;
        for (start, window) in overlapping(&windows, range) {
            if start > next {
                break;
            }
            if !window.prot.contains(access.prot()) {
                return Err(fault(FaultReason::Permission));
            }
            message |= window.by_message;
            if window.last >= range.last() {
                return Ok(message);
            }
            next = window.last + 1;
        }
        Err(fault(FaultReason::NoMapping))
    }

    fn transfer(&self, iova: Iova, len: usize) -> Transfer {
        Transfer { carrier: self.carrier.clone(), turnstile: self.turnstile.clone(), iova, len }
    }

    /// A synchronous access that the table refused: memory by message is another matter than no memory.
    fn explain(&self, fault: DmaFault, iova: Iova, len: u64, access: Access) -> DmaFault {
        let len_here = usize::try_from(len).unwrap_or(usize::MAX);
        match self.by_message(iova, len_here, access) {
            Ok(true) => DmaFault { iova, len, access, reason: FaultReason::WouldBlock },
            Ok(false) | Err(_) => fault,
        }
    }
}

fn overlapping(
    windows: &BTreeMap<Iova, Window>,
    range: IovaRange,
) -> impl Iterator<Item = (Iova, Window)> + '_ {
    let before = windows.range(..range.start()).next_back().filter(move |(_, w)| w.last >= range.start());
    before.into_iter().chain(windows.range(range.start()..=range.last())).map(|(start, w)| (*start, *w))
}

impl DmaSpace for GuestMemory {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let len = into.len() as u64;
        self.table.read(iova, into).map_err(|fault| self.explain(fault, iova, len, Access::Read))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.table
            .write(iova, from)
            .map_err(|fault| self.explain(fault, iova, from.len() as u64, Access::Write))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.table.fill(iova, byte, len).map_err(|fault| self.explain(fault, iova, len, Access::Write))
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        let result = self.table.compare_exchange_u32(iova, current, new);
        result.map_err(|fault| self.explain(fault, iova, 4, Access::Write))
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        let result = self.table.compare_exchange_u64(iova, current, new);
        result.map_err(|fault| self.explain(fault, iova, 8, Access::Write))
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.table.fetch_add_u32(iova, value).map_err(|fault| self.explain(fault, iova, 4, Access::Write))
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.table.fetch_add_u64(iova, value).map_err(|fault| self.explain(fault, iova, 8, Access::Write))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.table.translate(iova, access).map_err(|fault| self.explain(fault, iova, 1, access))
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        match self.by_message(iova, len, Access::Read) {
            Err(fault) => done(Err(fault)),
            Ok(false) => {
                let mut bytes = vec![0; len];
                let result = self.read(iova, &mut bytes);
                done(result.map(|()| bytes));
            }
            Ok(true) => {
                self.transfer(iova, len).read_on(Vec::with_capacity(len), done);
            }
        }
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        match self.by_message(iova, data.len(), Access::Write) {
            Err(fault) => done(Err(fault)),
            Ok(false) => done(self.write(iova, &data)),
            Ok(true) => {
                self.transfer(iova, data.len()).write_on(Arc::from(data), 0, done);
            }
        }
    }
}

/// A submitted access under way, a message at a time.
struct Transfer {
    carrier: Weak<dyn Carrier>,
    turnstile: Arc<Turnstile>,
    iova: Iova,
    len: usize,
}

impl Transfer {
    fn fault(&self, at: usize, access: Access, reason: FaultReason) -> DmaFault {
        DmaFault { iova: self.iova + at as u64, len: (self.len - at) as u64, access, reason }
    }

    /// Reads on behind what has come.
    fn read_on(self, bytes: Vec<u8>, done: ReadDone) {
        let left = self.len - bytes.len();
        if left == 0 {
            return done(Ok(bytes));
        }
        let limit = self.carrier.upgrade().map_or(MAX_MESSAGE, |carrier| carrier.max_transfer());
        let count = left.min(MAX_MESSAGE).min(limit);
        let turnstile = self.turnstile.clone();
        turnstile.enter(count, Box::new(move || self.read_message(bytes, count, done)));
    }

    fn read_message(self, mut bytes: Vec<u8>, count: usize, done: ReadDone) {
        let at = bytes.len();
        let Some(carrier) = self.carrier.upgrade() else {
            self.turnstile.leave(count);
            return done(Err(self.fault(at, Access::Read, FaultReason::Detached)));
        };
        let head = DmaCopy { iova: self.iova + at as u64, count: count as u64 };
        let mut body = Vec::with_capacity(DmaCopy::SIZE);
        head.write(&mut body);
        let (requests, socket) = carrier.parts();
        requests.submit(
            socket,
            Command::DmaRead as u16,
            &body,
            &[],
            Box::new(move |answer| {
                self.turnstile.leave(count);
                match answer.ok().as_ref().and_then(|frame| DmaCopy::read(&frame.body)) {
                    Some((answered, data)) if answered == head && data.len() == count => {
                        bytes.extend_from_slice(data);
                        self.read_on(bytes, done);
                    }
                    _ => done(Err(self.fault(at, Access::Read, FaultReason::Detached))),
                }
            }),
        );
    }

    /// Writes on behind what has gone. Replies are small, so writes need no turn.
    fn write_on(self, data: Arc<[u8]>, at: usize, done: WriteDone) {
        if at == self.len {
            return done(Ok(()));
        }
        let Some(carrier) = self.carrier.upgrade() else {
            return done(Err(self.fault(at, Access::Write, FaultReason::Detached)));
        };
        let count = (self.len - at).min(carrier.max_transfer());
        let mut body = Vec::with_capacity(DmaCopy::SIZE + count);
        DmaCopy { iova: self.iova + at as u64, count: count as u64 }.write(&mut body);
        body.extend_from_slice(&data[at..at + count]);
        let (requests, socket) = carrier.parts();
        requests.submit(
            socket,
            Command::DmaWrite as u16,
            &body,
            &[],
            Box::new(move |answer| match answer {
                Ok(_) => self.write_on(data, at + count, done),
                Err(_) => done(Err(self.fault(at, Access::Write, FaultReason::Detached))),
            }),
        );
    }
}
