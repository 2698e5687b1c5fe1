//! The argument of `VFIO_DEVICE_FEATURE`, which the driver asks JavaScript for.

use napi::bindgen_prelude::{BigInt, FnArgs, Function};
use napi_derive::napi;
use vfio_device::ops::{FeatureAnswer, FeatureArgument, FeatureFlags, IrqFd};
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_uapi::Errno;

use crate::js_bytes::JsBytes;
use crate::vfio_pci::event;

/// Reaches the caller's memory and descriptors. None of the functions throws.
#[napi(object, object_to_js = false)]
pub struct FeatureFunctions<'env> {
    /// (offset, length): the bytes, or undefined where there are none.
    pub read: Function<'env, FnArgs<(u32, u32)>, Option<JsBytes>>,
    /// (offset, bytes): false where there is no memory.
    pub write: Function<'env, FnArgs<(u32, JsBytes)>, bool>,
    /// (descriptor): the event counter, as in an interrupt request.
    pub event: Function<'env, FnArgs<(i32,)>, i32>,
}

/// A part of a region to share by descriptor.
#[napi(object, object_from_js = false)]
pub struct DmaBufInfo {
    /// BAR that the ranges lie in.
    pub bar: u32,
    /// Flags of the descriptor.
    pub open_flags: u32,
    /// Offset and length of each range, one after the other.
    pub ranges: Vec<BigInt>,
}

struct Argument<'a> {
    length: u32,
    functions: &'a FeatureFunctions<'a>,
}

impl FeatureArgument for Argument<'_> {
    fn len(&self) -> usize {
        self.length as usize
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Errno> {
        let offset = u32::try_from(offset).map_err(|_| Errno::EFAULT)?;
        let length = u32::try_from(into.len()).map_err(|_| Errno::EFAULT)?;
        let bytes = self.functions.read.call((offset, length).into()).map_err(|_| Errno::EFAULT)?;
        let bytes = bytes.ok_or(Errno::EFAULT)?;
        if bytes.0.len() != into.len() {
            return Err(Errno::EFAULT);
        }
        into.copy_from_slice(&bytes.0);
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        let offset = u32::try_from(offset).map_err(|_| Errno::EFAULT)?;
        let done = self.functions.write.call((offset, JsBytes(from.to_vec())).into());
        if done.map_err(|_| Errno::EFAULT)? { Ok(()) } else { Err(Errno::EFAULT) }
    }

    fn event_fd(&self, fd: i32) -> Result<EventFd, Errno> {
        let entry = self.functions.event.call((fd,).into()).map_err(|_| Errno::EBADF)?;
        match event(entry) {
            IrqFd::Fd(event) => Ok(event),
            IrqFd::Bad(errno) => Err(errno),
            IrqFd::Unset | IrqFd::Negative(_) => Err(Errno::EBADF),
        }
    }
}

impl FeatureFunctions<'_> {
    /// Has `device` carry the request out.
    pub(crate) fn run(
        &self,
        device: &dyn VfioDeviceOps,
        flags: u32,
        length: u32,
    ) -> Result<Option<DmaBufInfo>, Errno> {
        match device.device_feature(FeatureFlags(flags), &Argument { length, functions: self })? {
            FeatureAnswer::Done => Ok(None),
            FeatureAnswer::DmaBuf(buffer) => Ok(Some(DmaBufInfo {
                bar: buffer.bar.into(),
                open_flags: buffer.open_flags,
                ranges: buffer.ranges.iter().flat_map(|(at, len)| [(*at).into(), (*len).into()]).collect(),
            })),
        }
    }
}
