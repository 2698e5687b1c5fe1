//! Calling JavaScript from outside of a call: from the event loop.

// UNSAFETY: a callback is a raw reference, used on its thread only.
#![expect(unsafe_code, reason = "calls JavaScript functions through Node-API")]

use std::ptr;
use std::sync::Arc;

use napi_sys::{Status, napi_env, napi_ref, napi_value};

use crate::errno::Result;
use crate::realm::Realm;

/// A JavaScript function held by a reference.
pub(crate) struct Callback {
    realm: Arc<Realm>,
    reference: napi_ref,
}

// SAFETY: the reference is only used on the thread of the realm, which `call` and `release` check.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

/// An argument of a callback.
pub(crate) enum Argument {
    /// A 64-bit value.
    U64(u64),
}

impl Callback {
    /// Holds `function`, a value of the call under way in the realm.
    pub(crate) fn new(realm: Arc<Realm>, function: napi_value) -> Result<Self> {
        let reference = realm.hold(function)?;
        Ok(Self { realm, reference })
    }

    /// Returns the realm that the function lives in.
    pub(crate) fn realm(&self) -> &Arc<Realm> {
        &self.realm
    }

    /// Calls the function from the event loop. What it throws becomes an uncaught exception of the program.
    ///
    /// Elsewhere than on the thread of the function, and after its end, nothing happens.
    pub(crate) fn call(&self, arguments: &[Argument]) {
        if !self.realm.is_here() {
            return;
        }
        let env = self.realm.env();
        let mut scope = ptr::null_mut();
        // SAFETY: right thread, live environment; every value stays inside the scope.
        unsafe {
            if napi_sys::napi_open_handle_scope(env, &mut scope) == Status::napi_ok {
                self.call_in_scope(env, arguments);
                napi_sys::napi_close_handle_scope(env, scope);
            }
        }
    }

    /// # Safety
    /// A handle scope of `env` is open, on its thread.
    unsafe fn call_in_scope(&self, env: napi_env, arguments: &[Argument]) {
        let (mut function, mut global) = (ptr::null_mut(), ptr::null_mut());
        let mut values = [ptr::null_mut(); 4];
        // SAFETY: the caller's promise. A value that cannot be made leaves a null, and the call is not made.
        unsafe {
            for (value, argument) in values.iter_mut().zip(arguments) {
                let Argument::U64(number) = argument;
                napi_sys::napi_create_bigint_uint64(env, *number, value);
            }
            napi_sys::napi_get_reference_value(env, self.reference, &mut function);
            napi_sys::napi_get_global(env, &mut global);
            let count = arguments.len().min(values.len());
            if function.is_null() || global.is_null() || values[..count].iter().any(|value| value.is_null()) {
                return;
            }
            let (none, mut result) = (ptr::null_mut(), ptr::null_mut());
            let status = napi_sys::napi_make_callback(
                env,
                none,
                global,
                function,
                count,
                values.as_ptr(),
                &mut result,
            );
            if status == Status::napi_pending_exception {
                let mut exception = ptr::null_mut();
                napi_sys::napi_get_and_clear_last_exception(env, &mut exception);
                napi_sys::napi_fatal_exception(env, exception);
            }
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        // SAFETY: the reference was made in this realm and dies here.
        unsafe { self.realm.release(self.reference) };
    }
}
