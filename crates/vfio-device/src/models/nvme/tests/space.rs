//! Memory as the controller sees it: at once, or by messages that another thread answers.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use parking_lot::Mutex;
use vfio_iommu::{Access, DmaFault, DmaSpace, FaultReason, Iova, ReadDone, Translation, WriteDone};
use vfio_memory::Memory;

/// Where memory begins; nothing is mapped below or behind.
pub(super) const RAM_START: Iova = 0x10_0000;
/// Bytes of memory.
pub(super) const RAM_SIZE: u64 = 8 << 20;

/// Memory that answers at once.
pub(super) struct Ram(pub(super) Memory);

impl Ram {
    pub(super) fn new() -> Self {
        Self(Memory::anonymous(RAM_SIZE).expect("there is memory"))
    }

    fn at(iova: Iova, len: u64, access: Access) -> Result<u64, DmaFault> {
        iova.checked_sub(RAM_START)
            .filter(|at| at.checked_add(len).is_some_and(|end| end <= RAM_SIZE))
            .ok_or(DmaFault { iova, len, access, reason: FaultReason::NoMapping })
    }

    fn gone(iova: Iova, len: u64, access: Access) -> DmaFault {
        DmaFault { iova, len, access, reason: FaultReason::Detached }
    }
}

impl DmaSpace for Ram {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let len = into.len() as u64;
        let at = Self::at(iova, len, Access::Read)?;
        self.0.read(at, into).map_err(|_| Self::gone(iova, len, Access::Read))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let len = from.len() as u64;
        let at = Self::at(iova, len, Access::Write)?;
        self.0.write(at, from).map_err(|_| Self::gone(iova, len, Access::Write))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        let at = Self::at(iova, len, Access::Write)?;
        self.0.fill(at, byte, len).map_err(|_| Self::gone(iova, len, Access::Write))
    }

    fn compare_exchange_u32(&self, iova: Iova, _: u32, _: u32) -> Result<u32, DmaFault> {
        Err(Self::gone(iova, 4, Access::Write))
    }

    fn compare_exchange_u64(&self, iova: Iova, _: u64, _: u64) -> Result<u64, DmaFault> {
        Err(Self::gone(iova, 8, Access::Write))
    }

    fn fetch_add_u32(&self, iova: Iova, _: u32) -> Result<u32, DmaFault> {
        Err(Self::gone(iova, 4, Access::Write))
    }

    fn fetch_add_u64(&self, iova: Iova, _: u64) -> Result<u64, DmaFault> {
        Err(Self::gone(iova, 8, Access::Write))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        Err(Self::gone(iova, 1, access))
    }
}

type Job = Box<dyn FnOnce(&Ram) + Send>;

/// Memory that answers by messages only.
pub(super) struct Remote {
    answering: Mutex<Answering>,
}

enum Answering {
    /// Another thread answers.
    Yes(Sender<Job>),
    /// Nobody answers; the questions are kept.
    Later(Sender<Job>, Vec<(usize, Job)>),
    /// Nobody will ever answer.
    Never,
}

impl Remote {
    pub(super) fn new(ram: Arc<Ram>) -> Self {
        let (sender, receiver) = channel::<Job>();
        thread::spawn(move || receiver.into_iter().for_each(|job| job(&ram)));
        Self { answering: Mutex::new(Answering::Yes(sender)) }
    }

    /// Keeps questions from now on.
    pub(super) fn hold(&self) {
        let mut answering = self.answering.lock();
        if let Answering::Yes(sender) = &*answering {
            *answering = Answering::Later(sender.clone(), Vec::new());
        }
    }

    /// Tells how many questions are kept.
    pub(super) fn held(&self) -> usize {
        match &*self.answering.lock() {
            Answering::Later(_, held) => held.len(),
            _ => 0,
        }
    }

    /// Tells how many bytes the questions are about that are kept.
    pub(super) fn held_bytes(&self) -> usize {
        match &*self.answering.lock() {
            Answering::Later(_, held) => held.iter().map(|(bytes, _)| bytes).sum(),
            _ => 0,
        }
    }

    /// Answers what was kept, and everything from now on.
    pub(super) fn release(&self) {
        let mut answering = self.answering.lock();
        if let Answering::Later(sender, held) = &mut *answering {
            held.drain(..).for_each(|(_, job)| sender.send(job).expect("the thread is there"));
            *answering = Answering::Yes(sender.clone());
        }
    }

    /// Answers what was kept, and keeps what comes then.
    pub(super) fn release_held(&self) {
        if let Answering::Later(sender, held) = &mut *self.answering.lock() {
            held.drain(..).for_each(|(_, job)| sender.send(job).expect("the thread is there"));
        }
    }

    /// Drops what was kept and everything from now on.
    pub(super) fn vanish(&self) {
        let old = std::mem::replace(&mut *self.answering.lock(), Answering::Never);
        drop(old);
    }

    fn ask(&self, bytes: usize, job: Job) {
        match &mut *self.answering.lock() {
            Answering::Yes(sender) => sender.send(job).expect("the thread is there"),
            Answering::Later(_, held) => held.push((bytes, job)),
            Answering::Never => {}
        }
    }

    fn refuse<T>(iova: Iova, len: u64, access: Access) -> Result<T, DmaFault> {
        Err(DmaFault { iova, len, access, reason: FaultReason::WouldBlock })
    }
}

impl DmaSpace for Remote {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        Self::refuse(iova, into.len() as u64, Access::Read)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        Self::refuse(iova, from.len() as u64, Access::Write)
    }

    fn fill(&self, iova: Iova, _: u8, len: u64) -> Result<(), DmaFault> {
        Self::refuse(iova, len, Access::Write)
    }

    fn compare_exchange_u32(&self, iova: Iova, _: u32, _: u32) -> Result<u32, DmaFault> {
        Self::refuse(iova, 4, Access::Write)
    }

    fn compare_exchange_u64(&self, iova: Iova, _: u64, _: u64) -> Result<u64, DmaFault> {
        Self::refuse(iova, 8, Access::Write)
    }

    fn fetch_add_u32(&self, iova: Iova, _: u32) -> Result<u32, DmaFault> {
        Self::refuse(iova, 4, Access::Write)
    }

    fn fetch_add_u64(&self, iova: Iova, _: u64) -> Result<u64, DmaFault> {
        Self::refuse(iova, 8, Access::Write)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        Self::refuse(iova, 1, access)
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        self.ask(
            len,
            Box::new(move |ram| {
                let mut bytes = vec![0; len];
                let read = ram.read(iova, &mut bytes);
                done(read.map(|()| bytes));
            }),
        );
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        self.ask(data.len(), Box::new(move |ram| done(ram.write(iova, &data))));
    }
}
