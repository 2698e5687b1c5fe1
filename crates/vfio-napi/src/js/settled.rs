//! Waiting for a promise of JavaScript.

// UNSAFETY: a function of ours is handed to `then`, with what it runs as its bound data.
#![expect(unsafe_code, reason = "calls JavaScript functions through Node-API")]

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use napi_sys::{Status, napi_callback_info, napi_env, napi_value};

use super::Outcome;
use crate::js_bytes::array_bytes;
use crate::realm::Realm;

/// Runs once on the thread of the promise: with the bytes of the `Uint8Array` that it is fulfilled with; with nothing where it
/// is fulfilled with something else, or was collected unsettled. A promise that is rejected never tells.
pub(crate) type Settled = Box<dyn FnOnce(Option<Vec<u8>>) + Send>;

/// What a function given to `then` is bound to.
struct Waiting {
    settled: Option<Settled>,
    realm: Arc<Realm>,
}

/// Has `settled` run once `promise` is fulfilled.
///
/// # Safety
/// `promise` is in scope in the environment of the realm, on its thread.
pub(super) unsafe fn attach(realm: &Arc<Realm>, promise: napi_value, settled: Settled) -> Outcome {
    let env = realm.env();
    let (mut then, mut function, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let data = Box::into_raw(Box::new(Waiting { settled: Some(settled), realm: realm.clone() })).cast();
    // SAFETY: the caller's promise; the data lives until the function is collected.
    unsafe {
        let (none, name) = (ptr::null_mut(), c"vfio".as_ptr());
        let status = napi_sys::napi_create_function(env, name, 4, Some(fulfilled), data, &mut function);
        if status != Status::napi_ok
            || napi_sys::napi_add_finalizer(env, function, data, Some(collected), none, ptr::null_mut())
                != Status::napi_ok
        {
            drop(Box::from_raw(data.cast::<Waiting>()));
            return Outcome::Failed;
        }
        if napi_sys::napi_get_named_property(env, promise, c"then".as_ptr(), &mut then) != Status::napi_ok
            || napi_sys::napi_call_function(env, promise, then, 1, &function, &mut result) != Status::napi_ok
        {
            return Outcome::Failed;
        }
    }
    Outcome::Later
}

unsafe extern "C" fn fulfilled(env: napi_env, info: napi_callback_info) -> napi_value {
    let (mut count, mut value, mut data) = (1, ptr::null_mut(), ptr::null_mut());
    // SAFETY: the engine's promise: this is a call of the function that `attach` made, whose data lives.
    let (waiting, bytes) = unsafe {
        let status =
            napi_sys::napi_get_cb_info(env, info, &mut count, &mut value, ptr::null_mut(), &mut data);
        if status != Status::napi_ok || data.is_null() {
            return ptr::null_mut();
        }
        (&mut *data.cast::<Waiting>(), array_bytes(env, value))
    };
    if let Some(settled) = waiting.settled.take() {
        // A panic has been reported by the hook; it must not cross into the engine.
        let _ = catch_unwind(AssertUnwindSafe(|| settled(bytes)));
        report_exception(env);
    }
    ptr::null_mut()
}

/// Makes an exception that nobody is there to catch an uncaught one of the program.
fn report_exception(env: napi_env) {
    let (mut thrown, mut exception) = (false, ptr::null_mut());
    // SAFETY: callers are in a call of the environment.
    unsafe {
        napi_sys::napi_is_exception_pending(env, &mut thrown);
        if thrown && napi_sys::napi_get_and_clear_last_exception(env, &mut exception) == Status::napi_ok {
            napi_sys::napi_fatal_exception(env, exception);
        }
    }
}

unsafe extern "C" fn collected(_env: napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: made by `attach`; the function, which is gone, was the only other one to know it.
    let Waiting { settled, realm } = *unsafe { Box::from_raw(data.cast::<Waiting>()) };
    if let Some(settled) = settled {
        // Not from within a collection.
        realm.post(move |_| settled(None));
    }
}
