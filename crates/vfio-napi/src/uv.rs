//! Watching a descriptor on the event loop of a JavaScript thread (`uv_poll`).
//!
//! libuv is part of the runtime, which exports its functions.

// UNSAFETY: libuv is a C library whose handles live until their close callback has run.
#![expect(unsafe_code, reason = "calls libuv")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use napi_sys::{Status, napi_async_cleanup_hook_handle};
use vfio_uapi::Errno;

use crate::realm::Realm;

const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

type Handle = *mut c_void;

unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_set_data(handle: Handle, data: *mut c_void);
    fn uv_handle_get_data(handle: Handle) -> *mut c_void;
    fn uv_poll_init(event_loop: *mut c_void, handle: Handle, fd: c_int) -> c_int;
    fn uv_poll_start(
        handle: Handle,
        events: c_int,
        callback: unsafe extern "C" fn(Handle, c_int, c_int),
    ) -> c_int;
    fn uv_close(handle: Handle, callback: unsafe extern "C" fn(Handle));
}

/// Watches a descriptor until dropped; stays on the thread that made it.
pub(crate) struct Poll(Rc<State>);

/// What libuv's callbacks find behind the handle. libuv's own share is given back when the handle is closed.
struct State {
    handle: Cell<Handle>,
    layout: Layout,
    /// Where the environment is told that its end need not wait any more.
    hook: Cell<napi_async_cleanup_hook_handle>,
    closing: Cell<bool>,
    /// Open for as long as the loop may look at it.
    #[expect(dead_code, reason = "closed with the state")]
    fd: OwnedFd,
    ready: RefCell<Option<Rc<dyn Fn()>>>,
}

impl Poll {
    /// Has `ready` run at each turn of the loop of the realm at which `fd` is readable. The loop stays alive.
    ///
    /// # Errors
    /// `ENODEV` not on the realm's thread, or it has ended; otherwise what libuv refuses with.
    pub(crate) fn start(realm: &Realm, fd: OwnedFd, ready: impl Fn() + 'static) -> Result<Self, Errno> {
        if !realm.is_here() {
            return Err(Errno::ENODEV);
        }
        let env = realm.env();
        let mut event_loop = ptr::null_mut();
        // SAFETY: right thread, live environment; `layout` is what libuv asks for and never of size zero.
        unsafe {
            if napi_sys::napi_get_uv_event_loop(env, &mut event_loop) != Status::napi_ok {
                return Err(Errno::EOPNOTSUPP);
            }
            let layout =
                Layout::from_size_align(uv_handle_size(UV_POLL).max(1), 16).map_err(|_| Errno::ENOMEM)?;
            let handle: Handle = alloc_zeroed(layout).cast();
            if handle.is_null() {
                return Err(Errno::ENOMEM);
            }
            let status = uv_poll_init(event_loop.cast(), handle, fd.as_raw_fd());
            if status != 0 {
                dealloc(handle.cast(), layout);
                return Err(Errno::from_code(-status).unwrap_or(Errno::EIO));
            }
            let state = Rc::new(State {
                handle: Cell::new(handle),
                layout,
                hook: Cell::new(ptr::null_mut()),
                closing: Cell::new(false),
                fd,
                ready: RefCell::new(Some(Rc::new(ready))),
            });
            let data = Rc::into_raw(state.clone()).cast_mut().cast::<c_void>();
            uv_handle_set_data(handle, data);
            let poll = Self(state);
            let mut hook = ptr::null_mut();
            if napi_sys::napi_add_async_cleanup_hook(env, Some(on_environment_end), data, &mut hook)
                == Status::napi_ok
            {
                poll.0.hook.set(hook);
            }
            // From here on dropping `poll` closes the handle.
            match uv_poll_start(handle, UV_READABLE, on_ready) {
                0 => Ok(poll),
                status => Err(Errno::from_code(-status).unwrap_or(Errno::EIO)),
            }
        }
    }
}

impl State {
    /// Starts closing the handle, once.
    fn close(&self) {
        if !self.closing.replace(true) {
            drop(self.ready.take());
            // SAFETY: the handle is initialised and not closing; its data stays until `on_closed`.
            unsafe { uv_close(self.handle.get(), on_closed) };
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.0.close();
    }
}

unsafe extern "C" fn on_ready(handle: Handle, _status: c_int, _events: c_int) {
    // SAFETY: the handle's share of the state is only given back in `on_closed`.
    let state = unsafe { &*uv_handle_get_data(handle).cast::<State>() };
    let ready = state.ready.borrow().clone();
    if let Some(ready) = ready {
        // A panic has been reported by the hook; it must not cross into libuv.
        let _ = catch_unwind(AssertUnwindSafe(|| ready()));
    }
}

unsafe extern "C" fn on_closed(handle: Handle) {
    // SAFETY: libuv is done with the handle, and gives its share of the state back.
    unsafe {
        let state = Rc::from_raw(uv_handle_get_data(handle).cast::<State>());
        dealloc(handle.cast(), state.layout);
        state.handle.set(ptr::null_mut());
        if !state.hook.get().is_null() {
            napi_sys::napi_remove_async_cleanup_hook(state.hook.get());
        }
    }
}

unsafe extern "C" fn on_environment_end(_hook: napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the hook is removed when the handle gives its share of the state back.
    unsafe { &*data.cast::<State>() }.close();
}
