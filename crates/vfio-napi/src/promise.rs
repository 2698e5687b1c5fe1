//! Promises of JavaScript that are kept later, from whatever thread.
//!
//! Until a promise is settled the event loop goes on, as it does for a timer, unless its maker lets it end.

// UNSAFETY: a deferred is a raw handle, used once and on its thread.
#![expect(unsafe_code, reason = "makes and settles promises through Node-API")]

use std::ptr;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::ToNapiValue;
use napi_sys::{Status, napi_deferred, napi_env, napi_value};
use vfio_uapi::Errno;

use crate::errno::{Result, failure};
use crate::realm::{self, Realm};

/// The promise itself, on its way to JavaScript.
pub struct JsPromise(napi_value);

impl ToNapiValue for JsPromise {
    unsafe fn to_napi_value(_env: napi_env, promise: Self) -> napi::Result<napi_value> {
        Ok(promise.0)
    }
}

/// The other end of a promise. One that is dropped unsettled rejects it with `ECANCELED`.
pub(crate) struct Deferred(Option<Open>);

struct Open {
    realm: Arc<Realm>,
    handle: Handle,
    keeps_loop: bool,
}

struct Handle(napi_deferred);

// SAFETY: the handle is only used on the thread of the realm.
unsafe impl Send for Handle {}

/// Makes a promise in the call of `env` that is under way.
pub(crate) fn promise(env: Env) -> Result<(Deferred, JsPromise)> {
    let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
    let (mut handle, mut promise) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a call of the environment is under way.
    let status = unsafe { napi_sys::napi_create_promise(env.raw(), &mut handle, &mut promise) };
    if status != Status::napi_ok {
        return Err(failure("the engine makes no promise"));
    }
    realm.keep_loop();
    Ok((Deferred(Some(Open { realm, handle: Handle(handle), keeps_loop: true })), JsPromise(promise)))
}

impl Deferred {
    /// Lets the event loop end before the promise is settled; to be called where it was made.
    pub(crate) fn without_loop(mut self) -> Self {
        if let Some(open) = &mut self.0
            && std::mem::take(&mut open.keeps_loop)
        {
            open.realm.let_loop_end();
        }
        self
    }

    /// Settles the promise at a turn of its loop: with what `value` makes there, or with an error whose `code` is the errno's name.
    pub(crate) fn settle<T: ToNapiValue>(
        mut self,
        result: std::result::Result<impl FnOnce() -> T + Send + 'static, Errno>,
    ) {
        if let Some(open) = self.0.take() {
            open.settle(result);
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.settle(Err::<fn(), _>(Errno::ECANCELED));
        }
    }
}

impl Open {
    fn settle<T: ToNapiValue>(self, result: std::result::Result<impl FnOnce() -> T + Send + 'static, Errno>) {
        let Self { realm, handle, keeps_loop } = self;
        realm.post(move |realm| {
            let Handle(deferred) = { handle };
            let env = realm.env();
            // Made outside of the scope: what it drops may be JavaScript's too.
            let made = result.map(|value| value());
            let mut scope = ptr::null_mut();
            // SAFETY: tasks run on the thread of the live environment; the deferred is used once, here.
            unsafe {
                if napi_sys::napi_open_handle_scope(env, &mut scope) == Status::napi_ok {
                    let value =
                        made.and_then(|value| ToNapiValue::to_napi_value(env, value).map_err(|_| Errno::EIO));
                    match value {
                        Ok(value) => napi_sys::napi_resolve_deferred(env, deferred, value),
                        Err(errno) => napi_sys::napi_reject_deferred(env, deferred, error(env, errno)),
                    };
                    napi_sys::napi_close_handle_scope(env, scope);
                }
            }
            if keeps_loop {
                realm.let_loop_end();
            }
        });
    }
}

/// Makes the error of an errno.
///
/// # Safety
/// A handle scope of `env` is open, on its thread.
unsafe fn error(env: napi_env, errno: Errno) -> napi_value {
    let (mut code, mut message, mut error) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let (name, text) = (errno.name(), errno.to_string());
    // SAFETY: the caller's promise; both texts are as long as said.
    unsafe {
        napi_sys::napi_create_string_utf8(env, name.as_ptr().cast(), name.len() as isize, &mut code);
        napi_sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut message);
        napi_sys::napi_create_error(env, code, message, &mut error);
    }
    error
}
