//! Device features: flags, the argument in user memory, answers.

use std::sync::Arc;

use vfio_uapi::Errno;
use vfio_uapi::vfio::feature::{
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MASK, VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET,
};

use crate::EventFd;
use crate::vfio_pci::DmaBuf;

/// Holds the flags of a `VFIO_DEVICE_FEATURE` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureFlags(pub u32);

/// Tells a driver how to go on after [`FeatureFlags::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureStep {
    /// The request only asked; the answer is yes.
    Probed,
    /// Read the feature.
    Get,
    /// Set the feature.
    Set,
}

impl FeatureFlags {
    const OPS: u32 = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;

    /// Returns the number of the feature.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 & VFIO_DEVICE_FEATURE_MASK
    }

    /// Checks a request against the operations of `supported` (`VFIO_DEVICE_FEATURE_GET`, `_SET`) and the least size
    /// of the data.
    ///
    /// # Errors
    /// `EINVAL` in this order: an operation that is not supported; neither probe nor operation; data too short.
    pub fn check(self, supported: u32, data_size: usize, least: usize) -> Result<FeatureStep, Errno> {
        if self.0 & Self::OPS & !supported != 0 {
            return Err(Errno::EINVAL);
        }
        if self.0 & VFIO_DEVICE_FEATURE_PROBE != 0 {
            return Ok(FeatureStep::Probed);
        }
        if self.0 & Self::OPS == 0 || data_size < least {
            return Err(Errno::EINVAL);
        }
        Ok(if self.0 & VFIO_DEVICE_FEATURE_GET != 0 { FeatureStep::Get } else { FeatureStep::Set })
    }
}

/// Reaches the data of a request in the caller's memory, when the driver asks for them.
pub trait FeatureArgument {
    /// Returns the bytes behind the header, as `argsz` says.
    fn len(&self) -> usize;

    /// Tells whether nothing stands behind the header.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes in from `offset` on; they may lie beyond [`len`](Self::len), as in the kernel.
    ///
    /// # Errors
    /// `EFAULT` the caller's memory is not there.
    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Errno>;

    /// Copies bytes out to `offset`.
    ///
    /// # Errors
    /// `EFAULT` the caller's memory is not there or not writable.
    fn write(&self, offset: usize, from: &[u8]) -> Result<(), Errno>;

    /// Looks a descriptor of the caller up.
    ///
    /// # Errors
    /// `EBADF` there is none; `EINVAL` it is no eventfd.
    fn event_fd(&self, fd: i32) -> Result<EventFd, Errno>;
}

/// Answers a request.
#[derive(Debug, Clone)]
pub enum FeatureAnswer {
    /// Done; what was asked for has been written.
    Done,
    /// A part of a region to share, for which the caller gets a new descriptor.
    DmaBuf(Arc<DmaBuf>),
}
