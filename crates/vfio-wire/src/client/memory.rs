//! Memory that the client lent to the server, for the messages by which the server reaches it.

use vfio_iommu::{DmaSpace, IoPageTable, Iova, IovaRange};
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;

/// What the server may read and write.
#[derive(Default)]
pub(super) struct LentMemory {
    table: IoPageTable,
}

impl LentMemory {
    /// Lends memory. `EINVAL` not page aligned; `EEXIST` something is lent there.
    pub(super) fn map(
        &self,
        range: IovaRange,
        memory: &Memory,
        offset: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        self.table.map(range, memory, offset, prot)
    }

    /// Takes memory back; the server reaches it no more when this returns.
    pub(super) fn unmap(&self, range: IovaRange) -> Result<u64, Errno> {
        self.table.unmap(range)
    }

    /// Takes everything back.
    pub(super) fn clear(&self) {
        self.table.unmap(IovaRange::ALL).expect("the whole space is aligned");
    }

    pub(super) fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), Errno> {
        self.table.read(iova, into).map_err(|fault| fault.errno())
    }

    pub(super) fn write(&self, iova: Iova, from: &[u8]) -> Result<(), Errno> {
        self.table.write(iova, from).map_err(|fault| fault.errno())
    }
}
