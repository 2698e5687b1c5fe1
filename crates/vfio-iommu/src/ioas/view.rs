//! What one device, or one PASID of it, sees of memory.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use vfio_memory::{HostSpan, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::Ioas;
use super::access::IoasAccess;
use super::domain::PagingDomain;
use super::nested::NestedTable;
use super::page_requests::{AttachId, PageAnswer, PageGroup, PageRequests, Waiter, perm_of};
use super::reach::{Reach, Request};
use super::virtual_iommu::{TranslationEvent, VirtualIommu};
use crate::{
    Access, DmaFault, DmaSpace, FaultContext, FaultLog, FaultReason, Iova, IovaRange, ReadDone, Translation,
    WriteDone,
};

/// Most pages that one group of requests asks for.
const MOST_PAGES: u64 = 32;
/// Groups are numbered with nine bits.
const GROUP_NUMBERS: u32 = 512;

static ATTACHMENTS: AtomicU64 = AtomicU64::new(1);

/// Whom an attachment tells of what it is refused.
#[derive(Default, Clone)]
pub struct Reporting {
    /// Id of the device within its iommufd.
    pub device: u32,
    /// Where pages are asked for that are missing.
    pub requests: Option<Arc<PageRequests>>,
    /// The virtual IOMMU that the device belongs to, and its id there.
    pub events: Option<(Arc<VirtualIommu>, u64)>,
}

/// Runs accesses on what is attached at the moment.
///
/// Accesses hold the attachment's lock for reading, so when attaching or detaching has returned none is left that could
/// reach the old memory.
pub(super) struct View {
    me: Weak<View>,
    name: Arc<str>,
    faults: Arc<FaultLog>,
    pasid: Option<u32>,
    groups: AtomicU32,
    attachment: RwLock<Attachment>,
}

#[derive(Default)]
struct Attachment {
    target: Target,
    id: u64,
    reporting: Reporting,
}

/// What a device is attached to.
#[derive(Default)]
pub(super) enum Target {
    #[default]
    Nothing,
    /// A page table, which mirrors an address space.
    Domain(Arc<PagingDomain>, Ioas),
    /// A guest's page table on top of one.
    Nested(Arc<NestedTable>),
    /// An address space, by software.
    Access(IoasAccess),
}

/// A submitted access.
enum Submitted {
    Read(Iova, usize, ReadDone),
    Write(Iova, Vec<u8>, WriteDone),
}

impl View {
    pub(super) fn new(name: Arc<str>, faults: Arc<FaultLog>, pasid: Option<u32>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            name,
            faults,
            pasid,
            groups: AtomicU32::new(0),
            attachment: RwLock::default(),
        })
    }

    /// Leads elsewhere. Pages that were asked for through what was attached are given up.
    pub(super) fn attach(&self, target: Target, reporting: Reporting) {
        let id = ATTACHMENTS.fetch_add(1, Ordering::Relaxed);
        let new = Attachment { target, id, reporting };
        let old = std::mem::replace(&mut *self.attachment.write(), new);
        // Outside the lock: waiters are told, and it may be the last handle to much.
        if let Some(requests) = &old.reporting.requests {
            requests.give_up(AttachId(old.id));
        }
    }

    pub(super) fn is_attached(&self) -> bool {
        !matches!(self.attachment.read_recursive().target, Target::Nothing)
    }

    /// Returns the guest's page table that is attached.
    pub(super) fn nested(&self) -> Option<Arc<NestedTable>> {
        match &self.attachment.read_recursive().target {
            Target::Nested(nested) => Some(Arc::clone(nested)),
            _ => None,
        }
    }

    /// Runs an access; marks what it wrote; asks for what is missing, or reports a refusal.
    fn run<T>(
        &self,
        request: Request,
        run: impl FnOnce(&dyn Reach) -> Result<T, DmaFault>,
    ) -> Result<T, DmaFault> {
        self.attempt(request, run).map_err(|refused| {
            let asked = refused.group.is_some_and(|(requests, group)| requests.ask(group, None).is_ok());
            if asked {
                return DmaFault { reason: FaultReason::PageRequested, ..refused.fault };
            }
            self.refuse(refused.fault)
        })
    }

    fn attempt<T>(
        &self,
        request: Request,
        run: impl FnOnce(&dyn Reach) -> Result<T, DmaFault>,
    ) -> Result<T, Refused> {
        let attachment = self.attachment.read_recursive();
        let Some(reach) = attachment.target.reach() else {
            return Err(Refused { fault: request.fault(FaultReason::NotAttached), group: None });
        };
        match run(reach) {
            Ok(done) => {
                attachment.target.mark(request);
                Ok(done)
            }
            Err(fault) => {
                let group =
                    attachment.reporting.requests.as_ref().filter(|_| can_be_asked_for(fault.reason)).map(
                        |requests| (Arc::clone(requests), self.group(&attachment, reach, request, fault)),
                    );
                Err(Refused { fault, group })
            }
        }
    }

    /// Says which pages of an access are missing.
    fn group(
        &self,
        attachment: &Attachment,
        reach: &dyn Reach,
        request: Request,
        fault: DmaFault,
    ) -> PageGroup {
        let page = |iova: Iova| iova & !(PAGE_SIZE - 1);
        let mut pages = vec![page(fault.iova)];
        let last = request.iova.saturating_add(request.len.max(1) - 1);
        let mut next = page(fault.iova).checked_add(PAGE_SIZE);
        while let Some(at) = next.filter(|at| *at <= last && (pages.len() as u64) < MOST_PAGES) {
            match reach.translate(at, request.access) {
                Err(missing) if can_be_asked_for(missing.reason) => pages.push(at),
                Err(_) => break,
                Ok(_) => {}
            }
            next = at.checked_add(PAGE_SIZE);
        }
        PageGroup {
            attach: AttachId(attachment.id),
            device: attachment.reporting.device,
            pasid: self.pasid,
            number: self.groups.fetch_add(1, Ordering::Relaxed) % GROUP_NUMBERS,
            perm: perm_of(request.access),
            pages,
        }
    }

    /// Logs a refusal, and tells the guest whose page table it was.
    #[cold]
    fn refuse(&self, fault: DmaFault) -> DmaFault {
        let (context, events) = {
            let attachment = self.attachment.read_recursive();
            let guests = matches!(attachment.target, Target::Nested(_));
            (attachment.target.context(fault.iova), attachment.reporting.events.clone().filter(|_| guests))
        };
        // With no lock held: the listeners of both are called.
        if let Some((viommu, virt_id)) = events {
            viommu.report(&TranslationEvent { virt_id, pasid: self.pasid, fault });
        }
        self.faults.record(&self.name, fault, context);
        fault
    }

    /// Does an access that may wait for its pages.
    fn submit(&self, submitted: Submitted) {
        match submitted {
            Submitted::Read(iova, len, done) => {
                let mut bytes = Vec::new();
                let request = Request::read(iova, len as u64);
                if bytes.try_reserve_exact(len).is_err() {
                    return done(Err(request.fault(FaultReason::OutOfMemory)));
                }
                bytes.resize(len, 0);
                match self.attempt(request, |reach| reach.read(iova, &mut bytes)) {
                    Ok(()) => done(Ok(bytes)),
                    Err(refused) => self.wait(refused, Submitted::Read(iova, len, done)),
                }
            }
            Submitted::Write(iova, data, done) => {
                let request = Request::write(iova, data.len() as u64);
                match self.attempt(request, |reach| reach.write(iova, &data)) {
                    Ok(()) => done(Ok(())),
                    Err(refused) => self.wait(refused, Submitted::Write(iova, data, done)),
                }
            }
        }
    }

    /// Waits for the pages of a submitted access, if they can be asked for, and tries it again.
    fn wait(&self, refused: Refused, submitted: Submitted) {
        let fault = refused.fault;
        let (Some((requests, group)), Some(me)) = (refused.group, self.me.upgrade()) else {
            return submitted.fail(self.refuse(fault));
        };
        let waiter: Waiter = Box::new(move |answer| match answer {
            PageAnswer::Success => me.submit(submitted),
            PageAnswer::Invalid => submitted.fail(me.refuse(fault)),
        });
        if let Err(Some(waiter)) = requests.ask(group, Some(waiter)) {
            waiter(PageAnswer::Invalid);
        }
    }
}

/// Tells whether a page for which an access was refused may come yet.
fn can_be_asked_for(reason: FaultReason) -> bool {
    matches!(reason, FaultReason::NoMapping | FaultReason::Permission)
}

/// An access that was refused.
struct Refused {
    fault: DmaFault,
    /// What can be asked for, and where.
    group: Option<(Arc<PageRequests>, PageGroup)>,
}

impl Submitted {
    fn fail(self, fault: DmaFault) {
        match self {
            Self::Read(_, _, done) => done(Err(fault)),
            Self::Write(_, _, done) => done(Err(fault)),
        }
    }
}

impl Target {
    fn reach(&self) -> Option<&dyn Reach> {
        match self {
            Self::Nothing => None,
            Self::Domain(domain, _) => domain.table().map(|table| table as &dyn Reach),
            Self::Nested(nested) => Some(nested.as_ref()),
            Self::Access(access) => Some(access),
        }
    }

    /// Notes what an access wrote, where that is tracked.
    fn mark(&self, request: Request) {
        if request.access == Access::Write
            && let Self::Domain(domain, _) = self
            && let Some(dirty) = domain.dirty()
            && let Some(range) = IovaRange::sized(request.iova, request.len)
        {
            dirty.mark(range);
        }
    }

    #[cold]
    fn context(&self, iova: Iova) -> FaultContext {
        match self {
            Self::Nothing | Self::Nested(_) => FaultContext::default(),
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

impl DmaSpace for View {
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

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        self.submit(Submitted::Read(iova, len, done));
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        self.submit(Submitted::Write(iova, data, done));
    }

    fn pin_pages(&self, iova: Iova, npages: u64, prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        let attachment = self.attachment.read();
        let Target::Access(access) = &attachment.target else { return Err(Errno::EINVAL) };
        let len = npages.checked_mul(PAGE_SIZE).ok_or(Errno::EOVERFLOW)?;
        access.pin(iova & !(PAGE_SIZE - 1), len, prot.contains(Prot::WRITE))
    }

    fn unpin_pages(&self, iova: Iova, npages: u64) {
        if let Target::Access(access) = &self.attachment.read().target {
            access.unpin(iova & !(PAGE_SIZE - 1), npages.saturating_mul(PAGE_SIZE));
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("name", &self.name).field("pasid", &self.pasid).finish_non_exhaustive()
    }
}
