//! Translating one address: a function of its own for each view of memory and each way of access.
//!
//! One address is so little work that passing a handle and looking it up would be a quarter of the call; the view is
//! the function's bound data instead, and goes with the function. A view that was closed refuses by itself.

// UNSAFETY: bound data crosses Node-API as a raw pointer.
#![expect(unsafe_code, reason = "makes functions with bound data")]

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use napi_sys::{Status, napi_callback_info, napi_env, napi_value};
use vfio_iommu::{Access, DmaSpace};
use vfio_memory::Prot;

use super::{Answer, Call, Entry, Value};

/// What a function is bound to.
struct Translator {
    space: Arc<dyn DmaSpace>,
    access: Access,
}

/// Makes a function: `dmaTranslator(dma, access)`.
pub(super) const MAKE: Entry = Entry::new(c"dmaTranslator", "dma access", nothing);
/// Says what the arguments of a function made are called.
const MADE: Entry = Entry::new(c"translate", "iova", nothing);

fn nothing(_: &Call) -> Answer {
    Value::DONE
}

/// Makes a function for a view, with 1 for reading or 2 for writing.
///
/// # Safety
/// Called by Node-API.
pub(super) unsafe extern "C" fn make(env: napi_env, info: napi_callback_info) -> napi_value {
    let mut call = Call::new(env);
    // SAFETY: Node-API passes the environment and the call under way.
    if unsafe { call.fetch(info) }.is_none() {
        return ptr::null_mut();
    }
    let translator = call.object(0).and_then(|object| {
        let access = if call.access(1)? == Prot::WRITE { Access::Write } else { Access::Read };
        Ok(Translator { space: Arc::clone(object.dma()?), access })
    });
    let data = match translator {
        Ok(translator) => Box::into_raw(Box::new(translator)).cast::<c_void>(),
        Err(refusal) => return call.finish(Err(refusal), &MAKE),
    };
    let mut function = ptr::null_mut();
    // SAFETY: the box is given to the function, whose finalizer takes it back.
    let status = unsafe {
        match napi_sys::napi_create_function(
            env,
            MADE.name.as_ptr(),
            -1,
            Some(translate),
            data,
            &mut function,
        ) {
            Status::napi_ok => {
                let (hint, result) = (ptr::null_mut(), ptr::null_mut());
                napi_sys::napi_add_finalizer(env, function, data, Some(free), hint, result)
            }
            status => status,
        }
    };
    if status == Status::napi_ok {
        return function;
    }
    // SAFETY: nobody else has the box: without its finalizer the function is not given out.
    unsafe { free(env, data, ptr::null_mut()) };
    call.fail("cannot make a function")
}

unsafe extern "C" fn free(_: napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `make` gave the box up, once.
    drop(unsafe { Box::from_raw(data.cast::<Translator>()) });
}

/// Translates its argument.
unsafe extern "C" fn translate(env: napi_env, info: napi_callback_info) -> napi_value {
    let (mut argument, mut count, mut data) = (ptr::null_mut(), 1, ptr::null_mut());
    let mut value = 0.0;
    // SAFETY: Node-API passes the environment and the call under way; there is room for one argument.
    let status = unsafe {
        match napi_sys::napi_get_cb_info(env, info, &mut count, &mut argument, ptr::null_mut(), &mut data) {
            Status::napi_ok => napi_sys::napi_get_value_double(env, argument, &mut value),
            status => status,
        }
    };
    // By way of i64, which the processor converts by itself. 2^53 and everything odd about numbers goes the long way.
    let iova = value as i64;
    if status != Status::napi_ok || iova as f64 != value || iova >> 53 != 0 {
        // SAFETY: as for this function.
        return unsafe { translate_any(env, info) };
    }
    // SAFETY: `make` bound a translator, which lives as long as its function.
    let translator = unsafe { &*data.cast::<Translator>() };
    answer(env, translator, iova.cast_unsigned())
}

/// Translates an argument that is a bigint, or not an address.
#[cold]
unsafe fn translate_any(env: napi_env, info: napi_callback_info) -> napi_value {
    let mut call = Call::new(env);
    // SAFETY: the caller's promise.
    let Some(data) = (unsafe { call.fetch(info) }) else { return ptr::null_mut() };
    // SAFETY: as in `translate`.
    let translator = unsafe { &*data.cast::<Translator>() };
    match call.u64(0) {
        Ok(iova) => answer(env, translator, iova),
        Err(refusal) => call.finish(Err(refusal), &MADE),
    }
}

#[inline]
fn answer(env: napi_env, translator: &Translator, iova: u64) -> napi_value {
    let Translator { space, access } = translator;
    let found = match catch_unwind(AssertUnwindSafe(|| space.translate(iova, *access))) {
        // User addresses of every system fit the 53 bits of a number.
        Ok(Ok(found)) => found.host.cast_signed() as f64,
        Ok(Err(fault)) => f64::from(-fault.errno().code()),
        Err(_) => return Call::new(env).fail("panic"),
    };
    let mut result = ptr::null_mut();
    // SAFETY: makes a value for this call. A failure leaves it null, which JavaScript sees as undefined.
    unsafe { napi_sys::napi_create_double(env, found, &mut result) };
    result
}
