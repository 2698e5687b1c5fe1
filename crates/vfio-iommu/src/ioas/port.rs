//! A device's view of memory, whatever it is attached to at the moment.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use vfio_memory::{HostSpan, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::Ioas;
use super::access::IoasAccess;
use super::domain::PagingDomain;
use crate::{
    Access, DmaFault, DmaSpace, FaultContext, FaultLog, FaultReason, IoPageTable, Iova, IovaRange,
    Translation,
};

/// Lets a device reach the domain or the address space that it is attached to.
///
/// Accesses hold the port's lock for reading, so when attaching or detaching has returned none is left that could
/// reach the old memory.
pub struct DevicePort {
    name: Arc<str>,
    faults: Arc<FaultLog>,
    target: RwLock<Target>,
}

/// What a device is attached to.
#[derive(Default)]
enum Target {
    #[default]
    Nothing,
    /// A page table, which mirrors an address space.
    Domain(Arc<PagingDomain>, Ioas),
    /// An address space, by software.
    Access(IoasAccess),
}

impl DevicePort {
    /// Makes the port of a device that is attached to nothing.
    #[must_use]
    pub fn new(name: &str, faults: Arc<FaultLog>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), faults, target: RwLock::default() })
    }

    /// Leads to a page table, which mirrors `ioas`.
    pub fn attach_domain(&self, domain: &Arc<PagingDomain>, ioas: &Ioas) {
        self.set(Target::Domain(Arc::clone(domain), ioas.clone()));
    }

    /// Leads to whatever the access is attached to.
    pub fn attach_access(&self, access: &IoasAccess) {
        self.set(Target::Access(access.clone()));
    }

    /// Leads nowhere.
    pub fn detach(&self) {
        self.set(Target::Nothing);
    }

    fn set(&self, target: Target) {
        let old = std::mem::replace(&mut *self.target.write(), target);
        drop(old); // outside the lock: it may be the last handle to much
    }

    /// Runs an access on what the device is attached to; marks what it wrote; logs a refusal.
    fn run<T>(
        &self,
        request: Request,
        run: impl FnOnce(&dyn Reach) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        let target = self.target.read();
        let result = match &*target {
            Target::Nothing => Err(request.fault(FaultReason::NotAttached)),
            Target::Domain(domain, _) => match domain.table() {
                Some(table) => run(table),
                None => Err(request.fault(FaultReason::NotAttached)),
            },
            Target::Access(access) => run(access),
        };
        if result.is_ok()
            && request.access == Access::Write
            && let Target::Domain(domain, _) = &*target
            && let Some(dirty) = domain.dirty()
            && let Some(range) = IovaRange::sized(request.iova, request.len)
        {
            dirty.mark(range);
        }
        result.map_err(|fault| {
            let context = target.context(fault.iova);
            drop(target); // the log's listener is called
            self.report(fault, context)
        })
    }

    #[cold]
    fn report(&self, fault: DmaFault, context: FaultContext) -> DmaFault {
        self.faults.record(&self.name, fault, context);
        fault
    }
}

impl Target {
    #[cold]
    fn context(&self, iova: Iova) -> FaultContext {
        match self {
            Self::Nothing => FaultContext::default(),
            Self::Domain(_, ioas) => ioas.0.state.read().fault_context(iova),
            Self::Access(access) => {
                let attached = access.0.attached.read();
                attached
                    .ioas
                    .as_ref()
                    .map_or_else(FaultContext::default, |ioas| ioas.0.state.read().fault_context(iova))
            }
        }
    }
}

/// An access that is to be made.
#[derive(Clone, Copy)]
struct Request {
    iova: Iova,
    len: u64,
    access: Access,
}

impl Request {
    fn read(iova: Iova, len: u64) -> Self {
        Self { iova, len, access: Access::Read }
    }

    fn write(iova: Iova, len: u64) -> Self {
        Self { iova, len, access: Access::Write }
    }

    fn fault(self, reason: FaultReason) -> DmaFault {
        let Self { iova, len, access } = self;
        DmaFault { iova, len, access, reason }
    }

    fn refused(self, errno: Errno) -> DmaFault {
        self.fault(match errno {
            Errno::EPERM => FaultReason::Permission,
            Errno::ENOENT => FaultReason::NoMapping,
            Errno::EOVERFLOW => FaultReason::OutsideWindow,
            _ => FaultReason::Detached,
        })
    }
}

/// Accesses without knowing what lies behind.
trait Reach {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault>;
    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault>;
    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault>;
    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault>;
    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault>;
    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault>;
    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault>;
    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault>;
}

impl Reach for IoPageTable {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        DmaSpace::read(self, iova, into)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        DmaSpace::write(self, iova, from)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        DmaSpace::fill(self, iova, byte, len)
    }

    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.compare_exchange_u32(iova, current, new)
    }

    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.compare_exchange_u64(iova, current, new)
    }

    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.fetch_add_u32(iova, value)
    }

    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.fetch_add_u64(iova, value)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        DmaSpace::translate(self, iova, access)
    }
}

impl IoasAccess {
    /// Runs an atomic operation on one aligned word.
    fn word<T>(
        &self,
        iova: Iova,
        len: u64,
        run: impl Fn(&HostSpan) -> Result<T, Errno>,
    ) -> Result<T, DmaFault> {
        let request = Request::write(iova, len);
        if !iova.is_multiple_of(len) {
            return Err(request.fault(FaultReason::Misaligned));
        }
        let mut result = None;
        let visited = self.visit(iova, len, true, |span| {
            result = Some(run(span)?);
            Ok(())
        });
        visited.map_err(|errno| request.refused(errno))?;
        result.ok_or_else(|| request.fault(FaultReason::Detached))
    }
}

impl Reach for IoasAccess {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let request = Request::read(iova, into.len() as u64);
        if into.is_empty() {
            return Ok(());
        }
        Self::read(self, iova, into).map_err(|errno| request.refused(errno))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let request = Request::write(iova, from.len() as u64);
        if from.is_empty() {
            return Ok(());
        }
        Self::write(self, iova, from).map_err(|errno| request.refused(errno))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        if len == 0 {
            return Ok(());
        }
        let fill = |span: &HostSpan| span.memory.fill(span.offset, byte, span.len);
        self.visit(iova, len, true, fill).map_err(|errno| Request::write(iova, len).refused(errno))
    }

    fn swap_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |span| span.memory.compare_exchange_u32(span.offset, current, new))
    }

    fn swap_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |span| span.memory.compare_exchange_u64(span.offset, current, new))
    }

    fn add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.word(iova, 4, |span| span.memory.fetch_add_u32(span.offset, value))
    }

    fn add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.word(iova, 8, |span| span.memory.fetch_add_u64(span.offset, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        let request = Request { iova, len: 1, access };
        let mut found = None;
        let visited = self.visit(iova, 1, access == Access::Write, |span| {
            let host = span.memory.locate(span.offset, 1)?;
            found = Some(Translation { host, len: PAGE_SIZE - iova % PAGE_SIZE });
            Ok(())
        });
        visited.map_err(|errno| request.refused(errno))?;
        found.ok_or_else(|| request.fault(FaultReason::Detached))
    }
}

impl DmaSpace for DevicePort {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.run(Request::read(iova, into.len() as u64), |target| target.read(iova, into))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.run(Request::write(iova, from.len() as u64), |target| target.write(iova, from))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.run(Request::write(iova, len), |target| target.fill(iova, byte, len))
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.run(Request::write(iova, 4), |target| target.swap_u32(iova, current, new))
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.run(Request::write(iova, 8), |target| target.swap_u64(iova, current, new))
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.run(Request::write(iova, 4), |target| target.add_u32(iova, value))
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.run(Request::write(iova, 8), |target| target.add_u64(iova, value))
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        // Looking is not writing: nothing gets dirty.
        let request = Request { iova, len: 0, access };
        self.run(request, |target| target.translate(iova, access))
    }

    fn pin_pages(&self, iova: Iova, npages: u64, prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        let Target::Access(access) = &*self.target.read() else { return Err(Errno::EINVAL) };
        let len = npages.checked_mul(PAGE_SIZE).ok_or(Errno::EOVERFLOW)?;
        access.pin(iova & !(PAGE_SIZE - 1), len, prot.contains(Prot::WRITE))
    }

    fn unpin_pages(&self, iova: Iova, npages: u64) {
        if let Target::Access(access) = &*self.target.read() {
            access.unpin(iova & !(PAGE_SIZE - 1), npages.saturating_mul(PAGE_SIZE));
        }
    }
}

impl fmt::Debug for DevicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevicePort").field("name", &self.name).finish_non_exhaustive()
    }
}
