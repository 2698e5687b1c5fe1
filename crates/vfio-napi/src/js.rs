//! Calling JavaScript: from the event loop, from inside a native call, from another thread.

// UNSAFETY: a callback is a raw reference, used on its thread only.
#![expect(unsafe_code, reason = "calls JavaScript functions through Node-API")]

mod settled;

use std::ptr;
use std::sync::{Arc, mpsc};

use napi_sys::{Status, napi_env, napi_ref, napi_value};

use crate::errno::Result;
use crate::js_bytes::{make_array, read_array};
use crate::realm::Realm;
pub(crate) use settled::Settled;

/// A JavaScript function held by a reference.
pub(crate) struct Callback {
    realm: Arc<Realm>,
    reference: napi_ref,
}

// SAFETY: the reference is only used on the thread of the realm, which `call` and `release` check.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

/// What a function answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It said `false`, threw, or could not be called.
    Failed,
    /// It gave a promise.
    Later,
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
        self.invoke_after(arguments, || {})
    }

    /// As [`invoke`](Self::invoke), with `first` run right before on the function's thread.
    pub(crate) fn invoke_after(
        self: &Arc<Self>,
        arguments: &[Argument],
        first: impl FnOnce() + Send + 'static,
    ) -> bool {
        let (callback, arguments) = (self.clone(), arguments.to_vec());
        let run = move || {
            first();
            callback.run(&arguments, &mut [], None) == Outcome::Done
        };
        self.at_home(run).unwrap_or(false)
    }

    /// Runs `work` on the thread of the function and waits for it; nothing where the environment has ended.
    pub(crate) fn at_home<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.realm.is_here() {
            return Some(work());
        }
        let (done, returned) = mpsc::sync_channel(1);
        self.realm.post(move |_| drop(done.send(work())));
        // The task is dropped unheard, and its end of the channel with it, when the environment ends.
        returned.recv().ok()
    }

    /// Calls the function on its thread, with a `Uint8Array` of `bytes` behind the arguments unless there are none; what it
    /// leaves there stands in `bytes` afterwards. Where it gives a promise, `later` makes what runs once that is settled; without
    /// it nobody waits for that.
    pub(crate) fn run(
        &self,
        arguments: &[Argument],
        bytes: &mut [u8],
        later: Option<&mut dyn FnMut() -> Settled>,
    ) -> Outcome {
        if !self.realm.is_here() {
            return Outcome::Failed;
        }
        let env = self.realm.env();
        let mut scope = ptr::null_mut();
        // SAFETY: right thread, live environment; every value stays inside the scope.
        unsafe {
            if napi_sys::napi_open_handle_scope(env, &mut scope) != Status::napi_ok {
                return Outcome::Failed;
            }
            let outcome = self.run_in_scope(env, arguments, bytes, later);
            napi_sys::napi_close_handle_scope(env, scope);
            outcome
        }
    }

    /// # Safety
    /// A handle scope of `env` is open, on its thread.
    unsafe fn run_in_scope(
        &self,
        env: napi_env,
        arguments: &[Argument],
        bytes: &mut [u8],
        later: Option<&mut dyn FnMut() -> Settled>,
    ) -> Outcome {
        let (mut function, mut undefined, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let mut values = [ptr::null_mut(); MAX_ARGUMENTS];
        // SAFETY: the caller's promise.
        unsafe {
            let mut count = make_values(env, arguments, &mut values);
            let mut array = None;
            if !bytes.is_empty() && count < values.len() {
                array = make_array(env, bytes);
                values[count] = array.unwrap_or(ptr::null_mut());
                count += usize::from(array.is_some());
            }
            napi_sys::napi_get_reference_value(env, self.reference, &mut function);
            napi_sys::napi_get_undefined(env, &mut undefined);
            let values = values.as_ptr();
            if function.is_null()
                || napi_sys::napi_call_function(env, undefined, function, count, values, &mut result)
                    != Status::napi_ok
            {
                return Outcome::Failed;
            }
            // A function that answers `false` says that it failed, any other but a promise that it is done.
            let (mut answer, mut is_promise) = (true, false);
            if napi_sys::napi_get_value_bool(env, result, &mut answer) != Status::napi_ok {
                napi_sys::napi_is_promise(env, result, &mut is_promise);
            }
            if is_promise {
                return match later {
                    Some(later) => settled::attach(&self.realm, result, later()),
                    None => Outcome::Later,
                };
            }
            if let Some(array) = array {
                read_array(env, array, bytes);
            }
            if answer { Outcome::Done } else { Outcome::Failed }
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
