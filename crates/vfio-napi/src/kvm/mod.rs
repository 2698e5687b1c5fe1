//! `NativeKvm`: a file of the system's own KVM.

mod kernel;

use std::cell::RefCell;

use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use vfio_uapi::Errno;

use self::kernel::{ATTRIBUTE_SIZE, Attribute, KvmFile};
use crate::errno::{Result, throw};
use crate::numbers::u64;

/// `/dev/kvm`, a virtual machine or a device of one.
#[napi]
pub struct NativeKvm {
    file: RefCell<Option<KvmFile>>,
}

impl NativeKvm {
    fn new(file: KvmFile) -> Self {
        Self { file: RefCell::new(Some(file)) }
    }

    fn with<T>(&self, run: impl FnOnce(&KvmFile) -> std::result::Result<T, Errno>) -> Result<T> {
        let file = self.file.borrow();
        file.as_ref().ok_or(Errno::EBADF).and_then(run).map_err(throw)
    }
}

#[napi]
impl NativeKvm {
    /// Opens the system's KVM.
    #[napi(factory, catch_unwind)]
    pub fn open(path: String) -> Result<Self> {
        KvmFile::open(&path).map(Self::new).map_err(throw)
    }

    /// Returns the version of the interface.
    #[napi(catch_unwind)]
    pub fn api_version(&self) -> Result<i32> {
        self.with(KvmFile::api_version)
    }

    /// Tells whether an extension is there.
    #[napi(catch_unwind)]
    pub fn check_extension(&self, extension: u32) -> Result<i32> {
        self.with(|file| file.check_extension(extension))
    }

    /// Makes a virtual machine.
    #[napi(catch_unwind)]
    pub fn create_machine(&self) -> Result<Self> {
        self.with(KvmFile::create_machine).map(Self::new)
    }

    /// Makes the VFIO device of a virtual machine; nothing where that was only asked for.
    #[napi(catch_unwind)]
    pub fn create_vfio_device(&self, test: bool) -> Result<Option<Self>> {
        Ok(self.with(|file| file.create_vfio_device(test))?.map(Self::new))
    }

    /// Sets an attribute of a device to what `data` holds.
    #[napi(catch_unwind)]
    pub fn set_attribute(&self, group: u32, attribute: BigInt, data: Option<Uint8Array>) -> Result<()> {
        let attribute = u64(&attribute, "attribute")?;
        let mut room = [0; ATTRIBUTE_SIZE];
        if let Some(data) = &data {
            let part = room.get_mut(..data.len()).ok_or_else(|| throw(Errno::E2BIG))?;
            part.copy_from_slice(data);
        }
        let data = data.is_some().then_some(&mut room);
        self.with(|file| file.attribute(Attribute::Set, group, attribute, data)).map(|_| ())
    }

    /// Reads an attribute of a device, of which nothing is kept.
    #[napi(catch_unwind)]
    pub fn get_attribute(&self, group: u32, attribute: BigInt) -> Result<()> {
        let attribute = u64(&attribute, "attribute")?;
        let mut room = [0; ATTRIBUTE_SIZE];
        self.with(|file| file.attribute(Attribute::Get, group, attribute, Some(&mut room))).map(|_| ())
    }

    /// Asks whether a device has an attribute.
    #[napi(catch_unwind)]
    pub fn has_attribute(&self, group: u32, attribute: BigInt) -> Result<()> {
        let attribute = u64(&attribute, "attribute")?;
        self.with(|file| file.attribute(Attribute::Has, group, attribute, None)).map(|_| ())
    }

    /// Closes the file.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.file.borrow_mut().take();
        drop(closed);
        Ok(())
    }
}
