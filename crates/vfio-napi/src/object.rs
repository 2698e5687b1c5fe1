//! What a handle may stand for.

use std::sync::Arc;

use vfio_device::ops::RegionMapping;
use vfio_device::pci::{DeviceBus, PciFunction};
use vfio_device::{EventFd, VfioPci};
use vfio_iommu::spapr::TceTable;
use vfio_iommu::type1::Type1;
use vfio_iommu::{DmaSpace, FaultLog};
use vfio_memory::{AddressSpace, Memory};
use vfio_uapi::Errno;

/// A native object that raw calls reach by its handle.
pub(crate) enum Object {
    /// Memory that can be mapped.
    Memory(Memory),
    /// The address space of a simulated process.
    AddressSpace(Arc<AddressSpace>),
    /// An event counter.
    EventFd(EventFd),
    /// The IOMMU of a container.
    Type1(Type1),
    /// A DMA window of an sPAPR IOMMU.
    TceTable(Arc<TceTable>),
    /// A device's view of memory.
    Dma(DmaView),
    /// A simulated PCI function.
    Pci(Pci),
    /// vfio-pci over one.
    VfioPci(Arc<VfioPci>),
    /// A part of a region in a program's address space.
    Mapping(RegionMapping),
}

/// A device's view of memory, and where its faults are noted.
#[derive(Clone)]
pub(crate) struct DmaView {
    /// The view.
    pub(crate) space: Arc<dyn DmaSpace>,
    /// The log of the IOMMU.
    pub(crate) faults: Option<Arc<FaultLog>>,
}

/// A simulated PCI function with the bus that its model is on.
#[derive(Clone)]
pub(crate) struct Pci {
    /// The function.
    pub(crate) function: Arc<PciFunction>,
    /// What its model in JavaScript can do.
    pub(crate) bus: Option<DeviceBus>,
}

impl Object {
    /// Takes the object for a view of memory.
    ///
    /// # Errors
    /// `EBADF` it is something else.
    #[inline]
    pub(crate) fn dma(&self) -> Result<&Arc<dyn DmaSpace>, Errno> {
        Ok(&self.dma_view()?.space)
    }
}

impl Pci {
    /// Returns the bus of a model in JavaScript.
    ///
    /// # Errors
    /// `EOPNOTSUPP` the function emulates itself.
    pub(crate) fn bus(&self) -> Result<&DeviceBus, Errno> {
        self.bus.as_ref().ok_or(Errno::EOPNOTSUPP)
    }
}

macro_rules! narrow {
    ($($method:ident $variant:ident $what:ty,)*) => { impl Object {$(
        /// Takes the object for what the caller thinks it is.
        ///
        /// # Errors
        /// `EBADF` it is something else.
        #[inline]
        pub(crate) fn $method(&self) -> Result<&$what, Errno> {
            if let Self::$variant(object) = self { Ok(object) } else { Err(Errno::EBADF) }
        }
    )*}};
}

narrow! {
    memory Memory Memory,
    address_space AddressSpace Arc<AddressSpace>,
    event_fd EventFd EventFd,
    type1 Type1 Type1,
    tce_table TceTable Arc<TceTable>,
    dma_view Dma DmaView,
    pci Pci Pci,
    vfio_pci VfioPci Arc<VfioPci>,
    mapping Mapping RegionMapping,
}
