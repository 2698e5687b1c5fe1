//! The `Iotlb` of the crate `vm-memory`.

use vm_memory::iommu::Iotlb;
use vm_memory::{GuestAddress, Permissions};

use super::Translate;

#[derive(Default)]
pub struct Tlb(pub Iotlb);

impl Translate for Tlb {
    #[inline]
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        let result =
            self.0.set_mapping(GuestAddress(iova), GuestAddress(host), len as usize, Permissions::ReadWrite);
        result.expect("it takes any mapping");
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let found = Iotlb::lookup(&self.0, GuestAddress(iova), 1, Permissions::Read);
        found.ok().and_then(|mut found| found.next()).map_or(u64::MAX, |found| found.base.0)
    }
}
