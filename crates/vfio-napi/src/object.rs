//! What a handle may stand for.

use std::sync::Arc;

use vfio_device::EventFd;
use vfio_iommu::DmaSpace;
use vfio_iommu::type1::Type1;
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
    /// A device's view of memory.
    Dma(Arc<dyn DmaSpace>),
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
    dma Dma Arc<dyn DmaSpace>,
}
