//! JavaScript's own memory as memory that can be mapped.
//!
//! Shared memory keeps its address and never detaches, so it works from any thread. An `ArrayBuffer` may be
//! transferred away or shrunk and a `WebAssembly.Memory` may grow into a new buffer at any time between two
//! calls; both are asked for their address at each use, on their own thread only.

// UNSAFETY: addresses of JavaScript memory come from the engine and hold until JavaScript runs again.
#![expect(unsafe_code, reason = "asks the engine where its memory lies")]

use std::ptr;
use std::sync::Arc;

use napi_sys::{Status, napi_env, napi_ref, napi_value};
use vfio_memory::{ExternalMemory, Memory};
use vfio_uapi::Errno;

use crate::borrowed::Borrowed;
use crate::errno::{Result, failure, throw};
use crate::realm::{self, Realm};

/// A buffer of JavaScript, held by a reference.
struct V8Memory {
    realm: Arc<Realm>,
    reference: napi_ref,
    source: Source,
    length: usize,
}

enum Source {
    /// Address of shared bytes, which does not change and is good on any thread.
    Lasting(*mut u8),
    /// As above, of a Worker: good until that exits.
    Shared(*mut u8),
    /// Offset into an `ArrayBuffer`.
    Buffer(usize, #[expect(dead_code, reason = "dropped with the memory")] Borrowed),
    /// Offset into an unshared `WebAssembly.Memory`.
    WebAssembly(usize, #[expect(dead_code, reason = "dropped with the memory")] Borrowed),
}

// SAFETY: the reference is only used on the thread of the realm, which `resolve` and `release` check; the
// address of shared bytes is meant for every thread.
unsafe impl Send for V8Memory {}
// SAFETY: as above.
unsafe impl Sync for V8Memory {}

// SAFETY: shared bytes stay where they are while the reference is held; the others are asked at each use, on
// the thread whose JavaScript could take them away, and no JavaScript of the program runs while asking.
unsafe impl ExternalMemory for V8Memory {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        let (offset, length) = match &self.source {
            Source::Lasting(start) => return Some((*start, self.length)),
            Source::Shared(start) => return self.realm.detain().then_some((*start, self.length)),
            Source::Buffer(offset, _) | Source::WebAssembly(offset, _) => (*offset, self.length),
        };
        if !self.realm.is_here() {
            return None;
        }
        let (start, available) = self.ask()?;
        let length = available.checked_sub(offset)?.min(length);
        // SAFETY: `offset` is at most the length that the engine just said.
        (!start.is_null()).then(|| (unsafe { start.add(offset) }, length))
    }

    fn leave(&self) {
        if let Source::Shared(_) = self.source {
            // SAFETY: `resolve` answered, and so detained the realm.
            unsafe { self.realm.let_go() };
        }
    }

    fn stable(&self) -> bool {
        // Of a Worker's buffers nothing is left when it exits, whoever still maps them.
        matches!(self.source, Source::Lasting(_))
    }
}

impl V8Memory {
    /// Asks the engine for address and length of the whole buffer, on the realm's thread.
    fn ask(&self) -> Option<(*mut u8, usize)> {
        let env = self.realm.env();
        let mut scope = ptr::null_mut();
        // SAFETY: right thread, live environment; the scope is closed before anything else runs.
        unsafe {
            if napi_sys::napi_open_handle_scope(env, &mut scope) != Status::napi_ok {
                return None;
            }
            let mut held = ptr::null_mut();
            let found = match napi_sys::napi_get_reference_value(env, self.reference, &mut held) {
                Status::napi_ok if held.is_null() => None,
                Status::napi_ok if matches!(self.source, Source::WebAssembly(..)) => {
                    buffer_of(&self.realm, held).and_then(|buffer| extent(env, buffer))
                }
                Status::napi_ok => extent(env, held),
                _ => None,
            };
            napi_sys::napi_close_handle_scope(env, scope);
            found
        }
    }
}

impl Drop for V8Memory {
    fn drop(&mut self) {
        // SAFETY: the reference was made in this realm and dies here.
        unsafe { self.realm.release(self.reference) };
    }
}

/// Makes memory of the bytes of a typed array over a `SharedArrayBuffer`.
///
/// # Safety
/// `view` belongs to the call of `env` that is under way.
pub(crate) unsafe fn shared(env: napi_env, view: napi_value) -> Result<Memory> {
    // SAFETY: the caller's promise.
    let (start, length) = unsafe { shared_extent(env, view) }?;
    if length == 0 {
        return Err(throw(Errno::EINVAL));
    }
    let lasting = realm::of(env).is_some_and(|realm| realm.is_main_thread());
    let source = if lasting { Source::Lasting } else { Source::Shared };
    memory(env, view, source(start), length)
}

/// Asks a `Uint8Array` over a `SharedArrayBuffer` where it lies.
///
/// # Safety
/// `view` belongs to the call of `env` that is under way.
pub(crate) unsafe fn shared_extent(env: napi_env, view: napi_value) -> Result<(*mut u8, usize)> {
    let (mut length, mut start, mut buffer) = (0, ptr::null_mut(), ptr::null_mut());
    let (mut kind, mut offset, mut unshared) = (0, 0, true);
    // SAFETY: the caller's promise.
    let status = unsafe {
        match napi_sys::napi_get_typedarray_info(
            env,
            view,
            &mut kind,
            &mut length,
            &mut start,
            &mut buffer,
            &mut offset,
        ) {
            Status::napi_ok => napi_sys::napi_is_arraybuffer(env, buffer, &mut unshared),
            status => status,
        }
    };
    if status != Status::napi_ok || unshared || kind != napi_sys::TypedarrayType::uint8_array {
        return Err(failure("not a Uint8Array over a SharedArrayBuffer"));
    }
    Ok((start.cast(), length))
}

/// Makes memory of a part of an `ArrayBuffer`.
///
/// # Safety
/// `buffer` belongs to the call of `env` that is under way.
pub(crate) unsafe fn buffer(env: napi_env, buffer: napi_value, offset: u64, length: u64) -> Result<Memory> {
    // SAFETY: the caller's promise.
    let found = unsafe { extent(env, buffer) };
    let (start, available) = found.ok_or_else(|| failure("not an ArrayBuffer"))?;
    let (offset, length) = part(offset, length, available).map_err(throw)?;
    let borrowed = Borrowed::new(start.addr() + offset, start.addr() + offset + length);
    memory(env, buffer, Source::Buffer(offset, borrowed), length)
}

/// Makes memory of a part of an unshared `WebAssembly.Memory`, which may grow.
///
/// # Safety
/// `wasm` belongs to the call of `env` that is under way.
pub(crate) unsafe fn web_assembly(
    env: napi_env,
    wasm: napi_value,
    offset: u64,
    length: u64,
) -> Result<Memory> {
    let realm = realm::of(env).ok_or_else(|| failure("no realm"))?;
    // SAFETY: the caller's promise.
    let found = unsafe { buffer_of(&realm, wasm).and_then(|buffer| extent(env, buffer)) };
    let (_, available) = found.ok_or_else(|| failure("not an unshared WebAssembly.Memory"))?;
    let (offset, length) = part(offset, length, available).map_err(throw)?;
    // Growing may move it, so any bytes might be its.
    memory(env, wasm, Source::WebAssembly(offset, Borrowed::new(0, usize::MAX)), length)
}

fn memory(env: napi_env, held: napi_value, source: Source, length: usize) -> Result<Memory> {
    let realm = realm::of(env).ok_or_else(|| failure("no realm"))?;
    let reference = realm.hold(held)?;
    Ok(Memory::external(Arc::new(V8Memory { realm, reference, source, length })))
}

/// Checks that a part lies inside.
fn part(offset: u64, length: u64, available: usize) -> std::result::Result<(usize, usize), Errno> {
    let end = offset.checked_add(length).ok_or(Errno::EINVAL)?;
    if length == 0 || end > available as u64 {
        return Err(Errno::EINVAL);
    }
    Ok((offset as usize, length as usize))
}

/// Asks an `ArrayBuffer` where it lies; a detached one is empty.
///
/// # Safety
/// `buffer` is in scope in `env`.
unsafe fn extent(env: napi_env, buffer: napi_value) -> Option<(*mut u8, usize)> {
    let (mut start, mut length, mut genuine) = (ptr::null_mut(), 0, false);
    // SAFETY: the caller's promise.
    let status = unsafe {
        match napi_sys::napi_is_arraybuffer(env, buffer, &mut genuine) {
            Status::napi_ok if genuine => {
                napi_sys::napi_get_arraybuffer_info(env, buffer, &mut start, &mut length)
            }
            _ => Status::napi_arraybuffer_expected,
        }
    };
    (status == Status::napi_ok).then_some((start.cast(), length))
}

/// Asks a `WebAssembly.Memory` for its present buffer, through the engine's own getter.
///
/// # Safety
/// `wasm` is in scope in the realm's environment, on its thread.
unsafe fn buffer_of(realm: &Realm, wasm: napi_value) -> Option<napi_value> {
    let env = realm.env();
    let (mut getter, mut buffer) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's promise; the getter is the engine's, and refuses what is no such memory.
    unsafe {
        let status = napi_sys::napi_get_reference_value(env, realm.wasm_buffer()?, &mut getter);
        if status != Status::napi_ok || getter.is_null() {
            return None;
        }
        match napi_sys::napi_call_function(env, wasm, getter, 0, ptr::null(), &mut buffer) {
            Status::napi_ok => Some(buffer),
            Status::napi_pending_exception => {
                let mut exception = ptr::null_mut();
                napi_sys::napi_get_and_clear_last_exception(env, &mut exception);
                None
            }
            _ => None,
        }
    }
}
