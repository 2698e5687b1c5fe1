//! glib's `GTree` with a comparator that calls overlapping ranges equal, as QEMU's IOVA tree has it.
//!
//! The library is looked for at run time; without it the peer is left out.

use std::ffi::{c_int, c_void};
use std::mem::transmute;
use std::ptr;

use super::Translate;

type Compare = extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;
type Free = Option<unsafe extern "C" fn(*mut c_void)>;

struct Api {
    new: unsafe extern "C" fn(Compare, *mut c_void, Free, Free) -> *mut c_void,
    insert: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void),
    lookup: unsafe extern "C" fn(*mut c_void, *const c_void) -> *mut c_void,
    destroy: unsafe extern "C" fn(*mut c_void),
}

pub struct GTree {
    api: Api,
    tree: *mut c_void,
}

#[repr(C)]
struct Mapping {
    iova: u64,
    host: u64,
    /// Size less one.
    extent: u64,
}

extern "C" fn compare(a: *const c_void, b: *const c_void, _: *mut c_void) -> c_int {
    // SAFETY: the tree holds mappings only, and is asked with one.
    let (a, b) = unsafe { (&*a.cast::<Mapping>(), &*b.cast::<Mapping>()) };
    if a.iova > b.iova + b.extent {
        1
    } else if b.iova > a.iova + a.extent {
        -1
    } else {
        0
    }
}

unsafe extern "C" fn free(mapping: *mut c_void) {
    // SAFETY: a key that `map` leaked.
    drop(unsafe { Box::from_raw(mapping.cast::<Mapping>()) });
}

impl GTree {
    /// Makes a tree, if the system has the library.
    pub fn new() -> Option<Self> {
        // SAFETY: these are functions of glib's stable interface.
        unsafe {
            let library = libc::dlopen(c"libglib-2.0.so.0".as_ptr(), libc::RTLD_NOW);
            if library.is_null() {
                return None;
            }
            let find = |name: &std::ffi::CStr| {
                let found = libc::dlsym(library, name.as_ptr());
                (!found.is_null()).then_some(found)
            };
            let api = Api {
                new: transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(Compare, *mut c_void, Free, Free) -> *mut c_void,
                >(find(c"g_tree_new_full")?),
                insert: transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void)>(
                    find(c"g_tree_insert")?,
                ),
                lookup: transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut c_void, *const c_void) -> *mut c_void,
                >(find(c"g_tree_lookup")?),
                destroy: transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(find(
                    c"g_tree_destroy",
                )?),
            };
            let tree = (api.new)(compare, ptr::null_mut(), Some(free), None);
            Some(Self { api, tree })
        }
    }
}

impl Drop for GTree {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe { (self.api.destroy)(self.tree) };
    }
}

impl Translate for GTree {
    #[inline]
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        let mapping = Box::into_raw(Box::new(Mapping { iova, host, extent: len - 1 })).cast();
        // SAFETY: key and value are one allocation, which the tree frees as the key.
        unsafe { (self.api.insert)(self.tree, mapping, mapping) };
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let wanted = Mapping { iova, host: 0, extent: 0 };
        // SAFETY: answers with a value of the tree or null.
        unsafe {
            let found = (self.api.lookup)(self.tree, ptr::from_ref(&wanted).cast()).cast::<Mapping>();
            found.as_ref().map_or(u64::MAX, |found| found.host + (iova - found.iova))
        }
    }
}
