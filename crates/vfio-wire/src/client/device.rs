//! A device in another process: its connection, what it says of itself, and the memory that it is lent.

use std::sync::Arc;

use vfio_device::ops::{Completion, RegionInfo, RegionMemory, complete};
use vfio_iommu::IovaRange;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;

use super::ask::{self, Ask};
use super::connection::Connection;
use crate::message::{Command, RegionInfoBody};
use crate::version::Capabilities;

/// Longest capability chain that is asked for.
const MAX_REPLY: u32 = 64 << 10;

/// A region of a remote device.
#[derive(Debug, Clone)]
pub struct RemoteRegion {
    /// What the server says of it.
    pub info: RegionInfo,
    /// Memory behind it, where the server gave a descriptor.
    pub memory: Vec<RegionMemory>,
}

/// A part of memory to lend to a device.
#[derive(Debug, Clone)]
pub struct Loan {
    /// Address at which the device sees it.
    pub iova: u64,
    /// Where the bytes are.
    pub memory: Memory,
    /// First byte within the memory.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What the device may do.
    pub prot: Prot,
    /// By messages, even where the memory has a descriptor.
    pub by_message: bool,
}

/// A device behind a socket. Clones share the connection, which ends with the last of them.
#[derive(Clone)]
pub struct RemoteDevice {
    pub(super) connection: Arc<Connection>,
}

impl RemoteDevice {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// Ends the connection; calls that wait fail with `ENOTCONN`.
    pub fn close(&self) {
        self.connection.close();
    }

    /// Tells whether the connection has not ended, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Returns why the connection has ended, if it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<String> {
        self.connection.end_reason()
    }

    /// Runs `told` with the reason once the connection has ended: now, or on another thread.
    pub fn on_end(&self, told: impl FnOnce(&str) + Send + 'static) {
        self.connection.on_end(Box::new(told));
    }

    /// Returns what the server takes.
    #[must_use]
    pub fn server(&self) -> &Capabilities {
        &self.connection.server
    }

    /// Returns the minor version that the server speaks. One of 0.0 may know nothing of region descriptors, features and
    /// migration data, and be thrown off by a question about them.
    #[must_use]
    pub fn minor(&self) -> u16 {
        self.connection.minor
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// What the server refuses with; `EPROTO` its answer makes no sense; `ENOTCONN`; `ETIMEDOUT`; `EAGAIN` too many
    /// requests are under way.
    pub fn call<T>(&self, ask: Ask<T>) -> Result<T, Errno> {
        let Ask { command, body, beside, read } = ask;
        read(self.connection.call(command, &body, &beside.fds()?)?)
    }

    /// Sends a request; `done` gets what [`call`](Self::call) would return, on another thread, or here if that is known
    /// at once.
    pub fn submit<T: 'static>(&self, ask: Ask<T>, done: Completion<T>) {
        let Ask { command, body, beside, read } = ask;
        match beside.fds() {
            Ok(fds) => {
                let answered = Box::new(move |answer: Result<_, Errno>| done(answer.and_then(read)));
                self.connection.submit(command, &body, &fds, answered);
            }
            Err(errno) => done(Err(errno)),
        }
    }

    /// Lends memory to the device: by its descriptor where it has one, by messages otherwise.
    ///
    /// # Errors
    /// `EINVAL` empty, wrapping or misaligned; `EFAULT` outside the memory, or memory that only one thread reaches;
    /// `EEXIST` something is lent there; what the server refuses with; `ENOTCONN`, `ETIMEDOUT`.
    pub fn dma_map(&self, loan: &Loan) -> Result<(), Errno> {
        let (range, ask) = self.lend(loan)?;
        let answer = self.call(ask);
        if answer.is_err() {
            self.take_back(range);
        }
        answer
    }

    /// Lends memory as [`dma_map`](Self::dma_map) does, without waiting.
    pub fn submit_dma_map(&self, loan: &Loan, done: Completion<()>) {
        let (range, ask) = match self.lend(loan) {
            Ok(lent) => lent,
            Err(errno) => return done(Err(errno)),
        };
        let device = self.clone();
        let answered = move |answer: Result<(), Errno>| {
            if answer.is_err() {
                device.take_back(range);
            }
            done(answer);
        };
        self.submit(ask, complete(answered));
    }

    /// Takes memory back. The server does not reach it by message any more when this returns, even where it refused;
    /// memory that it has a descriptor of is the server's to let go.
    ///
    /// # Errors
    /// `EINVAL` empty, wrapping or misaligned; what the server refuses with; `ENOTCONN`, `ETIMEDOUT`.
    pub fn dma_unmap(&self, iova: u64, len: u64) -> Result<(), Errno> {
        let range = checked(iova, len)?;
        let answer = self.call(ask::dma_unmap(iova, len));
        self.take_back(range);
        answer
    }

    /// Takes memory back as [`dma_unmap`](Self::dma_unmap) does, without waiting.
    pub fn submit_dma_unmap(&self, iova: u64, len: u64, done: Completion<()>) {
        let range = match checked(iova, len) {
            Ok(range) => range,
            Err(errno) => return done(Err(errno)),
        };
        let device = self.clone();
        let answered = move |answer| {
            device.take_back(range);
            done(answer);
        };
        self.submit(ask::dma_unmap(iova, len), complete(answered));
    }

    fn lend(&self, loan: &Loan) -> Result<(IovaRange, Ask<()>), Errno> {
        let range = checked(loan.iova, loan.len)?;
        let memory = &loan.memory;
        if loan.offset.checked_add(loan.len).is_none_or(|end| end > memory.len()) {
            return Err(Errno::EFAULT);
        }
        // Messages are answered on a thread of the connection.
        if !memory.is_stable() && memory.fd().is_none() {
            return Err(Errno::EFAULT);
        }
        self.connection.lent().map(range, memory, loan.offset, loan.prot)?;
        Ok((range, ask::dma_map(loan)))
    }

    fn take_back(&self, range: IovaRange) {
        self.connection.lent().unmap(range).expect("checked to be aligned");
    }

    /// Asks for a region, with its capabilities and the memory behind it.
    ///
    /// # Errors
    /// What the server refuses with; `EPROTO` its answer makes no sense; `ENOTCONN`, `ETIMEDOUT`.
    pub fn query_region(&self, index: u32) -> Result<RemoteRegion, Errno> {
        let mut argsz = RegionInfoBody::SIZE;
        loop {
            let mut body = Vec::new();
            let ask = RegionInfoBody { argsz, flags: 0, index, cap_offset: 0, size: 0, offset: 0 };
            ask.write(&mut body);
            let mut frame = self.connection.call(Command::DeviceGetRegionInfo, &body, &[])?;
            let (info, chain) = RegionInfoBody::read(&frame.body).ok_or(Errno::EPROTO)?;
            if info.argsz > argsz && info.argsz <= MAX_REPLY {
                argsz = info.argsz;
                continue;
            }
            let capabilities = super::chain::decode(info.cap_offset, chain)?;
            let fd = if frame.fds.is_empty() { None } else { Some(frame.fds.swap_remove(0)) };
            let info = RegionInfo { flags: info.flags, size: info.size, offset: info.offset, capabilities };
            let memory = fd.map_or_else(Vec::new, |fd| super::areas::map(&info, &fd));
            return Ok(RemoteRegion { info, memory });
        }
    }
}

/// `EINVAL` empty, wrapping or misaligned.
fn checked(iova: u64, len: u64) -> Result<IovaRange, Errno> {
    IovaRange::sized(iova, len).filter(|range| range.is_aligned(vfio_memory::PAGE_SIZE)).ok_or(Errno::EINVAL)
}

impl std::fmt::Debug for RemoteDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteDevice").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
