//! Calling JavaScript: from the event loop, from inside a native call, from another thread.

// UNSAFETY: a callback is a raw reference, used on its thread only.
#![expect(unsafe_code, reason = "calls JavaScript functions through Node-API")]

use std::ptr;
use std::sync::{Arc, mpsc};

use napi_sys::{Status, napi_env, napi_ref, napi_value};

use crate::errno::Result;
use crate::js_bytes::{make_array, read_array};
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

/// Somebody who waits for bytes; one whose task is dropped unheard gets none.
struct Answer<F: FnOnce(Option<Vec<u8>>)>(Option<F>);

impl<F: FnOnce(Option<Vec<u8>>)> Answer<F> {
    fn give(&mut self, bytes: Option<Vec<u8>>) {
        if let Some(done) = self.0.take() {
            done(bytes);
        }
    }
}

impl<F: FnOnce(Option<Vec<u8>>)> Drop for Answer<F> {
    fn drop(&mut self) {
        self.give(None);
    }
}

const MAX_ARGUMENTS: usize = 4;

/// An argument of a callback.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// A 64-bit value, as a bigint.
    U64(u64),
    /// A 32-bit value, as a number.
    U32(u32),
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

    /// Calls the function and waits until it has returned, on whatever thread this is. False when it answered
    /// `false` or threw, or its environment has ended.
    ///
    /// On the thread of the function that is a plain call, and what it throws leaves with the native call that
    /// is under way. On another thread it runs at a turn of the event loop, and what it throws becomes an
    /// uncaught exception of the program.
    pub(crate) fn invoke(self: &Arc<Self>, arguments: &[Argument]) -> bool {
        self.exchange(arguments, &mut [])
    }

    /// As [`invoke`](Self::invoke), with a `Uint8Array` of `bytes` behind the arguments unless there are none; what
    /// the function leaves in it is what stands in `bytes` afterwards.
    pub(crate) fn exchange(self: &Arc<Self>, arguments: &[Argument], bytes: &mut [u8]) -> bool {
        if self.realm.is_here() {
            return self.exchange_here(arguments, bytes);
        }
        let (done, returned) = mpsc::sync_channel(1);
        let (callback, arguments, mut copy) = (self.clone(), arguments.to_vec(), bytes.to_vec());
        self.realm.post(move |_| {
            let ok = callback.exchange_here(&arguments, &mut copy);
            let _ = done.send((ok, copy));
        });
        // The task is dropped unheard, and its end of the channel with it, when the environment ends.
        let Ok((ok, copy)) = returned.recv() else { return false };
        bytes.copy_from_slice(&copy);
        ok
    }

    /// As [`exchange`](Self::exchange), without waiting: at once on the thread of the function, later from another.
    /// `done` gets the bytes, or none where `exchange` answers false.
    pub(crate) fn exchange_later(
        self: &Arc<Self>,
        arguments: Vec<Argument>,
        mut bytes: Vec<u8>,
        done: impl FnOnce(Option<Vec<u8>>) + Send + 'static,
    ) {
        if self.realm.is_here() {
            let ok = self.exchange_here(&arguments, &mut bytes);
            return done(ok.then_some(bytes));
        }
        let mut answer = Answer(Some(done));
        let callback = self.clone();
        self.realm.post(move |_| {
            let ok = callback.exchange_here(&arguments, &mut bytes);
            answer.give(ok.then_some(bytes));
        });
    }

    fn exchange_here(&self, arguments: &[Argument], bytes: &mut [u8]) -> bool {
        let env = self.realm.env();
        let mut scope = ptr::null_mut();
        // SAFETY: right thread, live environment; every value stays inside the scope.
        unsafe {
            if napi_sys::napi_open_handle_scope(env, &mut scope) != Status::napi_ok {
                return false;
            }
            let (mut function, mut undefined, mut result) =
                (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            let mut values = [ptr::null_mut(); MAX_ARGUMENTS];
            let mut count = make_values(env, arguments, &mut values);
            let mut array = None;
            if !bytes.is_empty() && count < values.len() {
                array = make_array(env, bytes);
                values[count] = array.unwrap_or(ptr::null_mut());
                count += usize::from(array.is_some());
            }
            napi_sys::napi_get_reference_value(env, self.reference, &mut function);
            napi_sys::napi_get_undefined(env, &mut undefined);
            let returned = !function.is_null()
                && napi_sys::napi_call_function(
                    env,
                    undefined,
                    function,
                    count,
                    values.as_ptr(),
                    &mut result,
                ) == Status::napi_ok;
            if let Some(array) = array.filter(|_| returned) {
                read_array(env, array, bytes);
            }
            // A function that answers `false` says that it failed.
            let mut answer = true;
            let said = returned && napi_sys::napi_get_value_bool(env, result, &mut answer) == Status::napi_ok;
            napi_sys::napi_close_handle_scope(env, scope);
            returned && (answer || !said)
        }
    }

    /// # Safety
    /// A handle scope of `env` is open, on its thread.
    unsafe fn call_in_scope(&self, env: napi_env, arguments: &[Argument]) {
        let (mut function, mut global) = (ptr::null_mut(), ptr::null_mut());
        let mut values = [ptr::null_mut(); MAX_ARGUMENTS];
        // SAFETY: the caller's promise.
        unsafe {
            let count = make_values(env, arguments, &mut values);
            napi_sys::napi_get_reference_value(env, self.reference, &mut function);
            napi_sys::napi_get_global(env, &mut global);
            if function.is_null() || global.is_null() {
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

/// Makes the values of arguments and returns how many; the first that cannot be made ends them.
///
/// # Safety
/// A handle scope of `env` is open, on its thread.
unsafe fn make_values(
    env: napi_env,
    arguments: &[Argument],
    values: &mut [napi_value; MAX_ARGUMENTS],
) -> usize {
    let mut count = 0;
    for (value, argument) in values.iter_mut().zip(arguments) {
        // SAFETY: the caller's promise.
        let status = unsafe {
            match argument {
                Argument::U64(number) => napi_sys::napi_create_bigint_uint64(env, *number, value),
                Argument::U32(number) => napi_sys::napi_create_uint32(env, *number, value),
            }
        };
        if status != Status::napi_ok {
            break;
        }
        count += 1;
    }
    count
}

impl Drop for Callback {
    fn drop(&mut self) {
        // SAFETY: the reference was made in this realm and dies here.
        unsafe { self.realm.release(self.reference) };
    }
}
