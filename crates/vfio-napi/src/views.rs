//! Views on memory without a copy: arrays whose bytes are the memory's own.
//!
//! An engine may refuse buffers over memory that is not its own, as Electron's does; `VFIO_EXTERNAL_BUFFERS=0` has this
//! module refuse them as well, so that programs can be tested for it. Memory behind a descriptor needs no such
//! buffer: its pages are put in place of those of a shared buffer that the engine made.

// UNSAFETY: makes buffers over memory of ours, and replaces pages of the engine's.
#![expect(unsafe_code, reason = "makes the engine see memory that it did not allocate")]

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue};
use napi_derive::napi;
use napi_sys::{Status, napi_env, napi_value};
use vfio_memory::Memory;
use vfio_uapi::Errno;

use crate::borrowed::Borrowed;
use crate::errno::{Result, failure, throw};
use crate::memory::NativeMemory;
use crate::v8_memory::shared_extent;

const SWITCH: &str = "VFIO_EXTERNAL_BUFFERS";

/// Tells whether external buffers are switched off; asked once.
fn switched_off() -> bool {
    static OFF: OnceLock<bool> = OnceLock::new();
    *OFF.get_or_init(|| std::env::var_os(SWITCH).is_some_and(|value| value == "0"))
}

/// Keeps memory while a buffer over it exists.
struct Lent {
    #[expect(dead_code, reason = "dropped with the buffer")]
    memory: Memory,
    #[expect(dead_code, reason = "dropped with the buffer")]
    borrowed: Borrowed,
}

unsafe extern "C" fn give_back(_env: napi_env, _data: *mut c_void, lent: *mut c_void) {
    // SAFETY: made by `external`, and given to the engine for this one call.
    drop(unsafe { Box::from_raw(lent.cast::<Lent>()) });
}

/// Makes an `ArrayBuffer` over memory; none where that is refused.
///
/// # Safety
/// A call of `env` is under way.
unsafe fn external(env: napi_env, memory: &Memory) -> Result<Option<napi_value>> {
    if switched_off() {
        return Ok(None);
    }
    let start = memory.stable_ptr().ok_or_else(|| throw(Errno::EOPNOTSUPP))?;
    let length = usize::try_from(memory.len()).map_err(|_| throw(Errno::ENOMEM))?;
    let borrowed = Borrowed::new(start.addr(), start.addr() + length);
    let lent = Box::into_raw(Box::new(Lent { memory: memory.clone(), borrowed }));
    let mut buffer = ptr::null_mut();
    // SAFETY: the caller's promise; the bytes stay where they are until `give_back`.
    let status = unsafe {
        napi_sys::napi_create_external_arraybuffer(
            env,
            start.cast(),
            length,
            Some(give_back),
            lent.cast(),
            &mut buffer,
        )
    };
    if status == Status::napi_ok {
        return Ok(Some(buffer));
    }
    // SAFETY: the engine did not take it.
    drop(unsafe { Box::from_raw(lent) });
    match status {
        Status::napi_no_external_buffers_allowed => Ok(None),
        _ => Err(failure("the engine refused to make a buffer")),
    }
}

/// Says whether buffers over memory that is not the engine's can be made: `allowed`, `refused` by the engine, or
/// `switched off`.
#[napi(catch_unwind)]
pub fn external_buffers(env: Env) -> Result<&'static str> {
    if switched_off() {
        return Ok("switched off");
    }
    let memory = Memory::anonymous(1).map_err(throw)?;
    // SAFETY: this call.
    let made = unsafe { external(env.raw(), &memory) }?;
    Ok(if made.is_some() { "allowed" } else { "refused" })
}

#[napi]
impl NativeMemory {
    /// Makes an `ArrayBuffer` over the memory's bytes, which it keeps; undefined where the engine refuses that.
    #[napi(catch_unwind)]
    pub fn external_buffer<'env>(&self, env: &'env Env) -> Result<Option<Unknown<'env>>> {
        let memory = self.get()?;
        if !memory.is_writable() {
            return Err(throw(Errno::EOPNOTSUPP));
        }
        // SAFETY: this call; the value is of its environment.
        Ok(unsafe {
            external(env.raw(), &memory)?.map(|value| Unknown::from_raw_unchecked(env.raw(), value))
        })
    }

    /// Puts the memory's pages in place of those of a shared buffer that nobody has used yet: `view` shows all of it.
    #[napi(catch_unwind)]
    pub fn map_over(&self, env: Env, view: Unknown) -> Result<()> {
        let memory = self.get()?;
        // SAFETY: the view is an argument of this call.
        let (start, length) = unsafe { shared_extent(env.raw(), view.raw()) }?;
        if length as u64 != memory.len() {
            return Err(throw(Errno::EINVAL));
        }
        #[cfg(target_os = "linux")]
        // SAFETY: the buffer is new, and of the kind that the engine keeps in pages of its own; it unmaps or replaces
        // them when the buffer is collected.
        return unsafe { memory.map_over(start) }.map_err(throw);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = start;
            Err(throw(Errno::EOPNOTSUPP))
        }
    }
}
