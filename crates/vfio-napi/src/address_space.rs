//! `NativeAddressSpace`: the memory of one simulated process.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_memory::{AddressSpace, Limits, Prot};
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::{self, Handle};
use crate::numbers::u64;
use crate::object::Object;

/// Which bytes lie at which virtual address of a process, and its lock accounting.
#[napi]
pub struct NativeAddressSpace {
    space: Arc<AddressSpace>,
    handle: RefCell<Option<Handle>>,
}

impl RefUnwindSafe for NativeAddressSpace {}

impl NativeAddressSpace {
    /// Returns the space itself, whether it was closed or not.
    #[cfg(target_os = "linux")]
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "asked where programs can be run"))]
    pub(crate) fn shared(&self) -> Arc<AddressSpace> {
        self.space.clone()
    }

    fn get(&self) -> Result<&Arc<AddressSpace>> {
        if self.handle.borrow().is_some() { Ok(&self.space) } else { Err(throw(Errno::EBADF)) }
    }

    fn place(
        &self,
        hint: Option<BigInt>,
        align: &BigInt,
        memory: u32,
        [offset, length]: [&BigInt; 2],
        prot: u32,
        page_size: Option<u64>,
    ) -> Result<BigInt> {
        let space = self.get()?;
        let hint = hint.as_ref().map(|hint| u64(hint, "hint")).transpose()?;
        let (align, offset, length) = (u64(align, "align")?, u64(offset, "offset")?, u64(length, "length")?);
        let object = handles::get(memory).map_err(throw)?;
        let memory = object.memory().map_err(throw)?.clone();
        let prot = prot_of(prot);
        let address = match page_size {
            None => space.map(hint, align, length, memory, offset, prot),
            Some(size) => space.map_huge(hint, align, length, memory, offset, prot, size),
        };
        Ok(address.map_err(throw)?.into())
    }
}

/// Where memory with huge pages goes.
#[napi(object, object_to_js = false)]
pub struct HugeMapping {
    /// Wanted address.
    pub hint: Option<BigInt>,
    /// Alignment of the address.
    pub align: BigInt,
    /// Handle of the memory.
    pub memory: u32,
    /// First byte of it.
    pub offset: BigInt,
    /// Bytes.
    pub length: BigInt,
    /// 1 for reading, 2 for writing.
    pub prot: u32,
    /// Bytes of a page.
    pub page_size: BigInt,
}

// Apart, since the macro registers whatever its block has.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[napi]
impl NativeAddressSpace {
    /// Makes an address space of what a process of the operating system has mapped. Mappings of files on the same file system
    /// as the descriptor `machine` are memory of devices.
    #[napi(factory, catch_unwind)]
    pub fn of_process(pid: i32, machine: i32) -> Result<Self> {
        let space = crate::run::of_process(pid, machine).map_err(throw)?;
        let handle = Handle::new(Object::AddressSpace(space.clone())).map_err(throw)?;
        Ok(Self { space, handle: RefCell::new(Some(handle)) })
    }
}

#[napi]
impl NativeAddressSpace {
    /// Starts an empty address space.
    #[napi(constructor, catch_unwind)]
    pub fn new(memlock: BigInt, cap_ipc_lock: bool, page_size: Option<BigInt>) -> Result<Self> {
        let limits = Limits { memlock: u64(&memlock, "memlock")?, cap_ipc_lock };
        let space = match page_size {
            None => AddressSpace::new(limits),
            Some(size) => AddressSpace::with_page_size(limits, u64(&size, "pageSize")?).map_err(throw)?,
        };
        let handle = Handle::new(Object::AddressSpace(space.clone())).map_err(throw)?;
        Ok(Self { space, handle: RefCell::new(Some(handle)) })
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.handle.borrow().as_ref().map_or(0, Handle::number))
    }

    /// Places memory; `prot` is 1 for reading, 2 for writing.
    #[napi(catch_unwind)]
    pub fn map(
        &self,
        hint: Option<BigInt>,
        align: BigInt,
        memory: u32,
        offset: BigInt,
        length: BigInt,
        prot: u32,
    ) -> Result<BigInt> {
        self.place(hint, &align, memory, [&offset, &length], prot, None)
    }

    /// As `map`, with pages of `pageSize` bytes behind the area.
    #[napi(catch_unwind)]
    pub fn map_huge(&self, request: HugeMapping) -> Result<BigInt> {
        let HugeMapping { hint, align, memory, offset, length, prot, page_size } = request;
        self.place(hint, &align, memory, [&offset, &length], prot, Some(u64(&page_size, "pageSize")?))
    }

    /// Removes what lies in a range.
    #[napi(catch_unwind)]
    pub fn unmap(&self, address: BigInt, length: BigInt) -> Result<()> {
        self.get()?.unmap(u64(&address, "address")?, u64(&length, "length")?).map_err(throw)
    }

    /// Changes what may be done in a range.
    #[napi(catch_unwind)]
    pub fn protect(&self, address: BigInt, length: BigInt, prot: u32) -> Result<()> {
        let (address, length) = (u64(&address, "address")?, u64(&length, "length")?);
        self.get()?.protect(address, length, prot_of(prot)).map_err(throw)
    }

    /// Locks a range.
    #[napi(catch_unwind)]
    pub fn mlock(&self, address: BigInt, length: BigInt) -> Result<()> {
        self.get()?.mlock(u64(&address, "address")?, u64(&length, "length")?).map_err(throw)
    }

    /// Unlocks a range.
    #[napi(catch_unwind)]
    pub fn munlock(&self, address: BigInt, length: BigInt) -> Result<()> {
        self.get()?.munlock(u64(&address, "address")?, u64(&length, "length")?).map_err(throw)
    }

    /// Makes this process one of the same user as another.
    #[napi(catch_unwind)]
    pub fn join_user(&self, other: &NativeAddressSpace) -> Result<()> {
        self.get()?.locked().join_user(other.space.locked());
        Ok(())
    }

    /// Sets limit and capability; what is undefined stays as it is.
    #[napi(catch_unwind)]
    pub fn set_limits(&self, memlock: Option<BigInt>, cap_ipc_lock: Option<bool>) -> Result<()> {
        let locked = self.get()?.locked();
        let mut limits = locked.limits();
        if let Some(memlock) = memlock {
            limits.memlock = u64(&memlock, "memlock")?;
        }
        limits.cap_ipc_lock = cap_ipc_lock.unwrap_or(limits.cap_ipc_lock);
        locked.set_limits(limits);
        Ok(())
    }

    /// Charges pages to the locked-memory account; tells whether the limit allowed it.
    #[napi(catch_unwind)]
    pub fn charge(&self, pages: BigInt) -> Result<bool> {
        Ok(self.space.locked().charge(u64(&pages, "pages")?).is_ok())
    }

    /// Gives a charge back, which works after the process is gone, too.
    #[napi(catch_unwind)]
    pub fn uncharge(&self, pages: BigInt) -> Result<()> {
        self.space.locked().uncharge(u64(&pages, "pages")?);
        Ok(())
    }

    /// Returns the locked pages; readable after the process is gone.
    #[napi(catch_unwind)]
    pub fn locked_vm(&self) -> Result<BigInt> {
        Ok(self.space.locked().locked_pages().into())
    }

    /// Returns the pinned pages; readable after the process is gone.
    #[napi(catch_unwind)]
    pub fn pinned_vm(&self) -> Result<BigInt> {
        Ok(self.space.locked().pinned_pages().into())
    }

    /// Drops every area: the process is gone.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.handle.borrow_mut().take();
        if closed.is_some() {
            self.space.clear();
        }
        Ok(())
    }
}

fn prot_of(bits: u32) -> Prot {
    Prot::from_bits_truncate((bits & 3) as u8)
}
