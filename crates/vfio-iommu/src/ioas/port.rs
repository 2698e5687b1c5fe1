//! A device's view of memory, whatever it is attached to at the moment, with a view of its own for each PASID.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_memory::{HostSpan, Prot};
use vfio_uapi::Errno;

use super::Ioas;
use super::access::IoasAccess;
use super::domain::PagingDomain;
use super::nested::NestedTable;
use super::view::{Reporting, Target, View};
use crate::{Access, DmaFault, DmaSpace, FaultLog, Iova, ReadDone, Translation, WriteDone};

/// PASIDs have at most so many bits.
const PASID_BITS: u32 = 20;

/// Lets a device reach the domains or the address space that it is attached to. `None` is the device without a PASID.
pub struct DevicePort {
    name: Arc<str>,
    faults: Arc<FaultLog>,
    own: Arc<View>,
    pasids: Mutex<BTreeMap<u32, Arc<View>>>,
}

impl DevicePort {
    /// Makes the port of a device that is attached to nothing.
    #[must_use]
    pub fn new(name: &str, faults: Arc<FaultLog>) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let own = View::new(Arc::clone(&name), Arc::clone(&faults), None);
        Arc::new(Self { name, faults, own, pasids: Mutex::default() })
    }

    /// Leads to a page table, which mirrors `ioas`.
    pub fn attach_domain(
        &self,
        pasid: Option<u32>,
        domain: &Arc<PagingDomain>,
        ioas: &Ioas,
        reporting: Reporting,
    ) {
        self.view(pasid).attach(Target::Domain(Arc::clone(domain), ioas.clone()), reporting);
    }

    /// Leads to a guest's page table.
    pub fn attach_nested(&self, pasid: Option<u32>, nested: &Arc<NestedTable>, reporting: Reporting) {
        self.view(pasid).attach(Target::Nested(Arc::clone(nested)), reporting);
    }

    /// Leads to whatever the access is attached to.
    pub fn attach_access(&self, access: &IoasAccess) {
        self.own.attach(Target::Access(access.clone()), Reporting::default());
    }

    /// Leads nowhere; accesses that wait for their pages fail.
    pub fn detach(&self, pasid: Option<u32>) {
        self.view(pasid).attach(Target::Nothing, Reporting::default());
        // Views that are detached, and that no model holds, are made again when they are needed.
        self.pasids.lock().retain(|_, view| view.is_attached() || Arc::strong_count(view) > 1);
    }

    /// Returns the guests' page tables that a PASID, or every part of the device, is attached to.
    pub(super) fn nested(&self, pasid: Option<u32>) -> Option<Arc<NestedTable>> {
        self.view(pasid).nested()
    }

    fn view(&self, pasid: Option<u32>) -> Arc<View> {
        let Some(pasid) = pasid else { return Arc::clone(&self.own) };
        let mut pasids = self.pasids.lock();
        let made = || View::new(Arc::clone(&self.name), Arc::clone(&self.faults), Some(pasid));
        Arc::clone(pasids.entry(pasid).or_insert_with(made))
    }
}

impl DmaSpace for DevicePort {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.own.read(iova, into)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.own.write(iova, from)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.own.fill(iova, byte, len)
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.own.compare_exchange_u32(iova, current, new)
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.own.compare_exchange_u64(iova, current, new)
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.own.fetch_add_u32(iova, value)
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.own.fetch_add_u64(iova, value)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.own.translate(iova, access)
    }

    fn submit_read(&self, iova: Iova, len: usize, done: ReadDone) {
        self.own.submit_read(iova, len, done);
    }

    fn submit_write(&self, iova: Iova, data: Vec<u8>, done: WriteDone) {
        self.own.submit_write(iova, data, done);
    }

    fn with_pasid(&self, pasid: u32) -> Result<Arc<dyn DmaSpace>, Errno> {
        if pasid == 0 || pasid >> PASID_BITS != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(self.view(Some(pasid)))
    }

    fn pin_pages(&self, iova: Iova, npages: u64, prot: Prot) -> Result<Vec<HostSpan>, Errno> {
        self.own.pin_pages(iova, npages, prot)
    }

    fn unpin_pages(&self, iova: Iova, npages: u64) {
        self.own.unpin_pages(iova, npages);
    }
}

impl fmt::Debug for DevicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevicePort").field("name", &self.name).finish_non_exhaustive()
    }
}
