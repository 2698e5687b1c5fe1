//! The hot calls: plain Node-API callbacks that answer with a number, negative for an errno.
//!
//! Each is an entry of a table: a name, how its answer is encoded, and a safe function over [`Call`]. One
//! callback serves them all, with the entry as its bound data; a panic in it becomes an exception.

// UNSAFETY: Node-API hands out raw pointers; they are turned into values here and in `call`, nowhere else.
#![expect(unsafe_code, reason = "registers raw Node-API callbacks")]

mod address_space;
mod bytes;
mod call;
mod debug;
mod dma;
mod dma_batch;
mod event_fd;
mod memory;
mod pci;
mod spapr;
mod translator;
mod type1;

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi_sys::{Status, napi_callback_info, napi_env, napi_value};

pub(crate) use bytes::Bytes;
pub(crate) use call::{Answer, Call, Refusal, Value};

/// A raw call: its name in the exports, and what it does.
pub(crate) struct Entry {
    name: &'static CStr,
    /// Names of the arguments, separated by spaces.
    arguments: &'static str,
    /// Tells whether an errno is answered as a bigint, as the values of this call are.
    wide: bool,
    run: fn(&Call) -> Answer,
}

impl Entry {
    /// A call whose answer is a number.
    pub(crate) const fn new(name: &'static CStr, arguments: &'static str, run: fn(&Call) -> Answer) -> Self {
        Self { name, arguments, wide: false, run }
    }

    /// A call whose answer is a bigint.
    pub(crate) const fn wide(name: &'static CStr, arguments: &'static str, run: fn(&Call) -> Answer) -> Self {
        Self { name, arguments, wide: true, run }
    }
}

const TABLES: &[&[Entry]] = &[
    memory::ENTRIES,
    address_space::ENTRIES,
    event_fd::ENTRIES,
    dma::ENTRIES,
    dma_batch::ENTRIES,
    type1::ENTRIES,
    spapr::ENTRIES,
    pci::ENTRIES,
];

/// Adds every raw call to the exports.
pub(crate) fn export(env: napi_env, exports: napi_value) -> napi::Result<()> {
    for entry in TABLES.iter().copied().flatten() {
        let data = ptr::from_ref(entry).cast_mut().cast::<c_void>();
        add(env, exports, entry.name, enter, data)?;
    }
    add(env, exports, translator::MAKE.name, translator::make, ptr::null_mut())?;
    add(env, exports, debug::ECHO, debug::echo, ptr::null_mut())
}

type Callback = unsafe extern "C" fn(napi_env, napi_callback_info) -> napi_value;

fn add(
    env: napi_env,
    exports: napi_value,
    name: &CStr,
    callback: Callback,
    data: *mut c_void,
) -> napi::Result<()> {
    let name = name.as_ptr();
    let mut function = ptr::null_mut();
    // SAFETY: `env` and `exports` are those of the registration under way; bound data is static.
    let status = unsafe {
        match napi_sys::napi_create_function(env, name, -1, Some(callback), data, &mut function) {
            Status::napi_ok => napi_sys::napi_set_named_property(env, exports, name, function),
            status => status,
        }
    };
    if status == Status::napi_ok {
        return Ok(());
    }
    Err(napi::Error::new(status.into(), "cannot export a raw call"))
}

/// Runs the entry that the function was made for.
unsafe extern "C" fn enter(env: napi_env, info: napi_callback_info) -> napi_value {
    let mut call = Call::new(env);
    // SAFETY: Node-API passes the environment and the call under way.
    let Some(data) = (unsafe { call.fetch(info) }) else { return ptr::null_mut() };
    // SAFETY: `export` bound a static entry.
    let entry = unsafe { &*data.cast::<Entry>() };
    match catch_unwind(AssertUnwindSafe(|| (entry.run)(&call))) {
        Ok(answer) => call.finish(answer, entry),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            call.fail(&text.unwrap_or_else(|| "panic".to_owned()))
        }
    }
}
