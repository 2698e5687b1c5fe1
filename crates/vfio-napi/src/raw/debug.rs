//! A call that does nothing, to measure what a crossing costs: a number in, a number out.

// UNSAFETY: asks Node-API for the argument, without anything of ours around it.
#![expect(unsafe_code, reason = "a bare Node-API callback")]

use std::ffi::CStr;
use std::ptr;

use napi_sys::{napi_callback_info, napi_env, napi_value};

/// Its name in the exports.
pub(super) const ECHO: &CStr = c"debugEcho";

/// Answers with its argument.
///
/// # Safety
/// Called by Node-API.
pub(super) unsafe extern "C" fn echo(env: napi_env, info: napi_callback_info) -> napi_value {
    let (mut argument, mut count) = (ptr::null_mut(), 1);
    let (mut value, mut result) = (0.0, ptr::null_mut());
    // SAFETY: Node-API passes the environment and the call under way; there is room for one argument.
    unsafe {
        let (this, data) = (ptr::null_mut(), ptr::null_mut());
        napi_sys::napi_get_cb_info(env, info, &mut count, &mut argument, this, data);
        napi_sys::napi_get_value_double(env, argument, &mut value);
        napi_sys::napi_create_double(env, value, &mut result);
    }
    result
}
