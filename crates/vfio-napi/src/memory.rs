//! `NativeMemory`: owns a handle to memory that can be mapped.

// UNSAFETY: values of a macro call are passed on to the module that asks the engine about them.
#![expect(unsafe_code, reason = "passes raw values of the call under way on")]

use std::cell::RefCell;
use std::sync::Arc;

use napi::bindgen_prelude::{BigInt, Unknown};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::errno::{Result, throw};
use crate::handles::Handle;
use crate::numbers::u64;
use crate::object::Object;
use crate::realm::{self, Realm};
use crate::{shared_objects, v8_memory};

/// Bytes that can be mapped into address spaces and reached by DMA.
#[napi]
pub struct NativeMemory {
    open: RefCell<Option<Open>>,
    kind: MemoryKind,
}

struct Open {
    memory: Memory,
    handle: Handle,
    /// Whom the garbage collector's account is kept with, and how many bytes stand in it.
    account: Option<(Arc<Realm>, i64)>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((realm, bytes)) = self.account.take() {
            realm.account(-bytes);
        }
    }
}

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    /// Pages of this process.
    Anonymous,
    /// Pages behind a descriptor of ours.
    Memfd,
    /// Pages behind somebody else's descriptor.
    File,
    /// A buffer of JavaScript.
    Buffer,
}

impl NativeMemory {
    /// Wraps memory for JavaScript.
    pub(crate) fn wrap(memory: Memory, kind: MemoryKind) -> Result<Self> {
        let handle = Handle::new(Object::Memory(memory.clone())).map_err(throw)?;
        let open = Open { memory, handle, account: None };
        Ok(Self { open: RefCell::new(Some(open)), kind })
    }

    /// Wraps pages that were allocated for JavaScript, which its garbage collector should know of.
    fn own(env: Env, memory: Memory, kind: MemoryKind) -> Result<Self> {
        let bytes = memory.len().cast_signed();
        let owned = Self::wrap(memory, kind)?;
        if let (Some(realm), Some(open)) = (realm::of(env.raw()), &mut *owned.open.borrow_mut()) {
            realm.account(bytes);
            open.account = Some((realm, bytes));
        }
        Ok(owned)
    }

    /// Returns the memory; `EBADF` once closed.
    pub(crate) fn get(&self) -> Result<Memory> {
        self.open.borrow().as_ref().map(|open| open.memory.clone()).ok_or_else(|| throw(Errno::EBADF))
    }
}

#[napi]
impl NativeMemory {
    /// Allocates private zeroed pages, huge ones of that size where one is given.
    #[napi(factory, catch_unwind)]
    pub fn anonymous(env: Env, length: BigInt, huge: Option<BigInt>) -> Result<Self> {
        let length = u64(&length, "length")?;
        let memory = match huge {
            None => Memory::anonymous(length),
            Some(page) => Memory::huge(length, u64(&page, "huge")?),
        };
        let memory = memory.map_err(throw)?;
        Self::own(env, memory, MemoryKind::Anonymous)
    }

    /// Allocates pages behind a descriptor, huge ones of that size where one is given.
    #[napi(factory, catch_unwind)]
    pub fn memfd(env: Env, name: String, length: BigInt, huge: Option<BigInt>) -> Result<Self> {
        let length = u64(&length, "length")?;
        let memory = match huge {
            None => Memory::memfd(&name, length),
            Some(page) => Memory::huge_memfd(&name, length, u64(&page, "huge")?),
        };
        let memory = memory.map_err(throw)?;
        Self::own(env, memory, MemoryKind::Memfd)
    }

    /// Takes the bytes of a typed array over a `SharedArrayBuffer`.
    #[napi(factory, catch_unwind)]
    pub fn from_shared(env: Env, view: Unknown) -> Result<Self> {
        // SAFETY: the view is an argument of this call.
        Self::wrap(unsafe { v8_memory::shared(env.raw(), view.raw()) }?, MemoryKind::Buffer)
    }

    /// Takes a part of an `ArrayBuffer`.
    #[napi(factory, catch_unwind)]
    pub fn from_buffer(env: Env, buffer: Unknown, offset: BigInt, length: BigInt) -> Result<Self> {
        let (offset, length) = (u64(&offset, "offset")?, u64(&length, "length")?);
        // SAFETY: the buffer is an argument of this call.
        Self::wrap(unsafe { v8_memory::buffer(env.raw(), buffer.raw(), offset, length) }?, MemoryKind::Buffer)
    }

    /// Takes a part of an unshared `WebAssembly.Memory`.
    #[napi(factory, catch_unwind)]
    pub fn from_web_assembly(env: Env, wasm: Unknown, offset: BigInt, length: BigInt) -> Result<Self> {
        let (offset, length) = (u64(&offset, "offset")?, u64(&length, "length")?);
        // SAFETY: the memory is an argument of this call.
        Self::wrap(
            unsafe { v8_memory::web_assembly(env.raw(), wasm.raw(), offset, length) }?,
            MemoryKind::Buffer,
        )
    }

    /// Takes memory that another thread shared.
    #[napi(factory, catch_unwind)]
    pub fn adopt(token: BigInt) -> Result<Self> {
        let (memory, kind) = shared_objects::adopt_memory(u64(&token, "token")?).map_err(throw)?;
        Self::wrap(memory, kind)
    }

    /// Returns the number by which raw calls know it; zero when closed.
    #[napi(getter, catch_unwind)]
    pub fn handle(&self) -> Result<u32> {
        Ok(self.open.borrow().as_ref().map_or(0, |open| open.handle.number()))
    }

    /// Returns where the bytes come from.
    #[napi(getter, catch_unwind)]
    pub fn kind(&self) -> Result<&'static str> {
        Ok(match self.kind {
            MemoryKind::Anonymous => "anonymous",
            MemoryKind::Memfd => "memfd",
            MemoryKind::File => "file",
            MemoryKind::Buffer => "buffer",
        })
    }

    /// Returns the length in bytes.
    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> Result<f64> {
        Ok(self.get()?.len() as f64)
    }

    /// Returns the descriptor, or -1.
    #[napi(catch_unwind)]
    pub fn fd(&self) -> Result<i32> {
        let memory = self.get()?;
        #[cfg(target_os = "linux")]
        if let Some(fd) = memory.fd() {
            return Ok(std::os::fd::AsRawFd::as_raw_fd(&fd));
        }
        drop(memory);
        Ok(-1)
    }

    /// Tells whether both mean the same bytes.
    #[napi(catch_unwind)]
    pub fn same_object(&self, other: &NativeMemory) -> Result<bool> {
        Ok(self.get()?.same_object(&other.get()?))
    }

    /// Leaves the memory for another thread to adopt.
    #[napi(catch_unwind)]
    pub fn share(&self) -> Result<BigInt> {
        Ok(shared_objects::share_memory(self.get()?, self.kind).into())
    }

    /// Lets the handle go; mappings keep the bytes.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        let closed = self.open.borrow_mut().take();
        drop(closed);
        Ok(())
    }
}
