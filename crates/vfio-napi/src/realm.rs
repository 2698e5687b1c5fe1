//! One JavaScript environment: the thread it lives on, when it ends, and what must be let go there.
//!
//! JavaScript values may only be touched on the thread of their environment. Other threads post tasks, which run
//! at the next turn of the thread's loop; so a reference that is dropped elsewhere is deleted at home. When the
//! environment ends (a Worker exits) the realm is closed first: from then on nobody gets an address from it, and
//! no task runs.

// UNSAFETY: environments and references are raw handles, checked here for thread and life.
#![expect(unsafe_code, reason = "owns Node-API references across threads")]

use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue};
use napi_derive::napi;
use napi_sys::{Status, napi_env, napi_ref, napi_value};
use parking_lot::{Mutex, RwLock};

use crate::errno::{Result, failure};

thread_local! {
    /// Environments of this thread; there is more than one where a process has several contexts.
    static REALMS: RefCell<Vec<Arc<Realm>>> = const { RefCell::new(Vec::new()) };
}

/// The JavaScript environment that loaded the addon, once per Worker.
pub(crate) struct Realm {
    env: napi_env,
    thread: ThreadId,
    /// Tells whether the environment is alive; held for reading while an address from it is in use elsewhere.
    alive: RwLock<bool>,
    /// What other threads want done here.
    tasks: Mutex<Vec<Task>>,
    /// How many want the event loop to stay.
    holds: AtomicUsize,
    /// Wakes the thread; valid while alive.
    waker: napi_sys::napi_threadsafe_function,
    /// `get buffer` of `WebAssembly.Memory.prototype`.
    wasm_buffer: OnceLock<Reference>,
    /// Tells whether shared buffers of this environment live as long as the process.
    main_thread: AtomicBool,
}

/// Something to do on the thread of a realm.
type Task = Box<dyn FnOnce(&Arc<Realm>) + Send>;

/// A raw reference on its way to its thread.
struct Reference(napi_ref);

// SAFETY: the pointer is only used on the thread of the realm.
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}
// SAFETY: `env`, `wasm_buffer` are only used on `thread`; `waker` is made for other threads.
unsafe impl Send for Realm {}
// SAFETY: as above.
unsafe impl Sync for Realm {}

/// Makes the realm of an environment that loads the addon, and arranges for its end.
pub(crate) fn enter(env: napi_env) -> napi::Result<()> {
    let realm = Arc::new(Realm {
        env,
        thread: thread::current().id(),
        alive: RwLock::new(true),
        tasks: Mutex::default(),
        holds: AtomicUsize::new(0),
        waker: waker(env)?,
        wasm_buffer: OnceLock::new(),
        main_thread: AtomicBool::new(false),
    });
    let data = Arc::as_ptr(&realm).cast_mut().cast::<c_void>();
    REALMS.with_borrow_mut(|realms| realms.push(realm));
    // SAFETY: the realm outlives the hook, which is what takes it from the list. Hooks run last in, first
    // out: the waker, whose own hook is older, is still there when ours runs.
    check(unsafe { napi_sys::napi_add_env_cleanup_hook(env, Some(leave), data) })
}

/// Finds the realm of an environment of this thread.
pub(crate) fn of(env: napi_env) -> Option<Arc<Realm>> {
    REALMS.with_borrow(|realms| realms.iter().find(|realm| ptr::eq(realm.env, env)).cloned())
}

unsafe extern "C" fn leave(data: *mut c_void) {
    let found = REALMS.try_with(|realms| {
        let mut realms = realms.borrow_mut();
        let at = realms.iter().position(|realm| ptr::eq(Arc::as_ptr(realm), data.cast()))?;
        Some(realms.swap_remove(at))
    });
    let Ok(Some(realm)) = found else { return };
    *realm.alive.write() = false;
    // Whatever they hold is let go; a reference dies with the environment.
    let unheard = std::mem::take(&mut *realm.tasks.lock());
    drop(unheard);
}

impl Realm {
    /// Tells whether this is the thread of the environment and the environment is alive.
    pub(crate) fn is_here(&self) -> bool {
        thread::current().id() == self.thread && *self.alive.read()
    }

    /// Returns the thread of the environment.
    pub(crate) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Returns the environment, for use on its thread while [`is_here`](Self::is_here).
    pub(crate) fn env(&self) -> napi_env {
        self.env
    }

    /// Keeps the environment from ending until [`let_go`](Self::let_go); false when it has ended.
    pub(crate) fn detain(&self) -> bool {
        let alive = self.alive.read_recursive();
        if *alive {
            std::mem::forget(alive);
            return true;
        }
        false
    }

    /// Lets the environment end again.
    ///
    /// # Safety
    /// [`detain`](Self::detain) answered true on this thread, and has not been taken back.
    pub(crate) unsafe fn let_go(&self) {
        // SAFETY: the guard of `detain` was forgotten, so this thread holds the lock.
        unsafe { self.alive.force_unlock_read() };
    }

    /// Tells whether shared buffers of this environment live as long as the process.
    pub(crate) fn is_main_thread(&self) -> bool {
        self.main_thread.load(Ordering::Relaxed)
    }

    /// Returns the reference to the getter of a `WebAssembly.Memory`'s buffer.
    pub(crate) fn wasm_buffer(&self) -> Option<napi_ref> {
        self.wasm_buffer.get().map(|reference| reference.0)
    }

    /// Holds a value of this environment until [`release`](Self::release).
    pub(crate) fn hold(&self, value: napi_value) -> Result<napi_ref> {
        let mut reference = ptr::null_mut();
        // SAFETY: callers are in a call of this environment.
        check(unsafe { napi_sys::napi_create_reference(self.env, value, 1, &mut reference) })
            .map_err(|_| failure("the value cannot be held"))?;
        Ok(reference)
    }

    /// Deletes a reference, on its thread: now when this is it, soon when it is not.
    ///
    /// # Safety
    /// `reference` belongs to this environment and is not used again.
    pub(crate) unsafe fn release(&self, reference: napi_ref) {
        if self.is_here() {
            // SAFETY: the caller's promise; right thread, live environment.
            unsafe { napi_sys::napi_delete_reference(self.env, reference) };
            return;
        }
        let reference = Reference(reference);
        self.post(move |realm| {
            let Reference(reference) = { reference };
            // SAFETY: the caller's promise; tasks run on the thread of the live environment.
            unsafe { napi_sys::napi_delete_reference(realm.env, reference) };
        });
    }

    /// Tells the garbage collector of bytes that JavaScript keeps alive (or, negative, no longer does).
    pub(crate) fn account(&self, bytes: i64) {
        if self.is_here() {
            let mut total = 0;
            // SAFETY: right thread, live environment.
            unsafe { napi_sys::napi_adjust_external_memory(self.env, bytes, &mut total) };
        }
    }

    /// Has `task` run on the thread of the environment, at a turn of its loop; never, when it has ended.
    pub(crate) fn post(&self, task: impl FnOnce(&Arc<Realm>) + Send + 'static) {
        let alive = self.alive.read();
        if *alive {
            self.tasks.lock().push(Box::new(task));
            let mode = napi_sys::ThreadsafeFunctionCallMode::nonblocking;
            // SAFETY: alive, so the waker is. A full queue means that it wakes anyway.
            unsafe { napi_sys::napi_call_threadsafe_function(self.waker, ptr::null_mut(), mode) };
        }
    }

    /// Keeps the event loop turning until [`let_loop_end`](Self::let_loop_end); on the thread of the realm.
    pub(crate) fn keep_loop(&self) {
        if self.holds.fetch_add(1, Ordering::Relaxed) == 0 && self.is_here() {
            // SAFETY: right thread, live environment.
            unsafe { napi_sys::napi_ref_threadsafe_function(self.env, self.waker) };
        }
    }

    /// Takes one [`keep_loop`](Self::keep_loop) back; on the thread of the realm.
    pub(crate) fn let_loop_end(&self) {
        if self.holds.fetch_sub(1, Ordering::Relaxed) == 1 && self.is_here() {
            // SAFETY: right thread, live environment.
            unsafe { napi_sys::napi_unref_threadsafe_function(self.env, self.waker) };
        }
    }
}

/// Makes the function that other threads wake this one with. It does not keep the process running.
fn waker(env: napi_env) -> napi::Result<napi_sys::napi_threadsafe_function> {
    let mut name = ptr::null_mut();
    let mut waker = ptr::null_mut();
    // SAFETY: plain construction in the environment that is registering.
    unsafe {
        check(napi_sys::napi_create_string_utf8(env, c"vfio".as_ptr(), 4, &mut name))?;
        let (none, null) = (ptr::null_mut(), ptr::null_mut());
        check(napi_sys::napi_create_threadsafe_function(
            env,
            none,
            none,
            name,
            1,
            1,
            null,
            None,
            null,
            Some(wake),
            &mut waker,
        ))?;
        check(napi_sys::napi_unref_threadsafe_function(env, waker))?;
    }
    Ok(waker)
}

unsafe extern "C" fn wake(env: napi_env, _function: napi_value, _context: *mut c_void, _data: *mut c_void) {
    // A null environment means that it is being torn down.
    let Some(realm) = (!env.is_null()).then(|| of(env)).flatten() else { return };
    let tasks = std::mem::take(&mut *realm.tasks.lock());
    for task in tasks {
        // A panic has been reported by the hook; it must not cross into the engine.
        let _ = catch_unwind(AssertUnwindSafe(|| task(&realm)));
        // SAFETY: right thread, live environment, inside the scope of the waker's call.
        unsafe {
            let (mut thrown, mut exception) = (false, ptr::null_mut());
            napi_sys::napi_is_exception_pending(env, &mut thrown);
            if thrown && napi_sys::napi_get_and_clear_last_exception(env, &mut exception) == Status::napi_ok {
                napi_sys::napi_fatal_exception(env, exception);
            }
        }
    }
}

/// Tells the realm what only JavaScript can look up: the genuine getter of a `WebAssembly.Memory`'s buffer (so
/// that asking for it later runs no code of the program), and whether this is the main thread.
#[napi(catch_unwind)]
pub fn enter_realm(env: Env, wasm_buffer: Option<Unknown>, main_thread: bool) -> Result<()> {
    let realm = of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
    realm.main_thread.store(main_thread, Ordering::Relaxed);
    if let Some(getter) = wasm_buffer {
        let _ = realm.wasm_buffer.set(Reference(realm.hold(getter.raw())?));
    }
    Ok(())
}

fn check(status: i32) -> napi::Result<()> {
    if status == Status::napi_ok {
        return Ok(());
    }
    Err(napi::Error::new(status.into(), "the engine refused a call of the addon"))
}
