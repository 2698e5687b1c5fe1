//! Bytes that cross by copy, as a `Uint8Array`.
//!
//! Some engines refuse arrays over memory that is not theirs, so none is ever made; and an array that comes in may be
//! shared with other threads, so nothing of it is kept.

// UNSAFETY: conversions get raw values of the call under way.
#![expect(unsafe_code, reason = "converts raw values of the call under way")]

use std::ops::Deref;
use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, ToNapiValue, TypeName, ValidateNapiValue};
use napi::{Error, Result, Status, ValueType};
use napi_sys::{napi_env, napi_value};
use vfio_memory::copy;

/// Bytes of our own that are, or were, a `Uint8Array`.
pub struct JsBytes(pub(crate) Vec<u8>);

impl From<Vec<u8>> for JsBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for JsBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl TypeName for JsBytes {
    fn type_name() -> &'static str {
        "Uint8Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ValidateNapiValue for JsBytes {}

impl ToNapiValue for JsBytes {
    unsafe fn to_napi_value(env: napi_env, value: Self) -> Result<napi_value> {
        // SAFETY: the caller's promise: a call of `env` is under way.
        unsafe { make_array(env, &value.0) }
            .ok_or_else(|| Error::new(Status::GenericFailure, "the engine has no room for an array"))
    }
}

impl FromNapiValue for JsBytes {
    unsafe fn from_napi_value(env: napi_env, value: napi_value) -> Result<Self> {
        // SAFETY: the caller's promise: `value` belongs to a call of `env` that is under way.
        let (start, length) = unsafe { extent(env, value) }
            .ok_or_else(|| Error::new(Status::InvalidArg, "an argument must be an instance of Uint8Array"))?;
        let mut bytes = vec![0; length];
        if length != 0 {
            // SAFETY: the engine vouches for the range while no JavaScript runs; others may write to it.
            unsafe { copy::read(start, bytes.as_mut_ptr(), length) };
        }
        Ok(Self(bytes))
    }
}

/// Makes a `Uint8Array` that holds `bytes`.
///
/// # Safety
/// A handle scope of `env` is open, on its thread.
pub(crate) unsafe fn make_array(env: napi_env, bytes: &[u8]) -> Option<napi_value> {
    let (mut buffer, mut array, mut start) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's promise; a new buffer has the length asked for, and nobody else knows it yet.
    unsafe {
        let status = napi_sys::napi_create_arraybuffer(env, bytes.len(), &mut start, &mut buffer);
        if status != napi_sys::Status::napi_ok || (start.is_null() && !bytes.is_empty()) {
            return None;
        }
        if !bytes.is_empty() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast(), bytes.len());
        }
        let kind = napi_sys::TypedarrayType::uint8_array;
        let status = napi_sys::napi_create_typedarray(env, kind, bytes.len(), buffer, 0, &mut array);
        (status == napi_sys::Status::napi_ok).then_some(array)
    }
}

/// Copies out what an array holds now; one that was cut or taken away leaves `bytes` as they are.
///
/// # Safety
/// `array` is in scope in `env`, on its thread.
pub(crate) unsafe fn read_array(env: napi_env, array: napi_value, bytes: &mut [u8]) {
    // SAFETY: the caller's promise; the engine says anew where the array lies and how long it is.
    unsafe {
        if let Some((start, length)) = extent(env, array)
            && length >= bytes.len()
            && !bytes.is_empty()
        {
            copy::read(start, bytes.as_mut_ptr(), bytes.len());
        }
    }
}

/// Copies a `Uint8Array` out; nothing where `value` is none.
///
/// # Safety
/// `value` is in scope in `env`, on its thread.
pub(crate) unsafe fn array_bytes(env: napi_env, value: napi_value) -> Option<Vec<u8>> {
    // SAFETY: the caller's promise.
    unsafe { JsBytes::from_napi_value(env, value) }.ok().map(|bytes| bytes.0)
}

/// Asks a `Uint8Array` where it lies.
///
/// # Safety
/// `array` is in scope in `env`, on its thread.
unsafe fn extent(env: napi_env, array: napi_value) -> Option<(*const u8, usize)> {
    let (mut kind, mut length, mut start) = (0, 0, ptr::null_mut());
    let (mut buffer, mut offset) = (ptr::null_mut(), 0);
    // SAFETY: the caller's promise.
    let status = unsafe {
        napi_sys::napi_get_typedarray_info(
            env,
            array,
            &mut kind,
            &mut length,
            &mut start,
            &mut buffer,
            &mut offset,
        )
    };
    let found = status == napi_sys::Status::napi_ok && kind == napi_sys::TypedarrayType::uint8_array;
    found.then_some((start.cast_const().cast(), if start.is_null() { 0 } else { length }))
}
