//! The Node-API binding: one file per native class, nothing but conversion and delegation.
//!
//! Two manners of crossing. Macro classes own things and carry what is not hot; a refusal is an exception whose
//! `code` is the errno's name. The hot handful is in `raw`: plain callbacks that know objects by the small
//! number that a class instance gives out (`handles`) and answer with a number, negative for an errno.
//!
//! Neighbours: `vfio-device`, `vfio-iommu` and `vfio-memory` below, `ts/native` above.

#![expect(unreachable_pub, reason = "the macro wants `pub` for what it hands to JavaScript")]

mod address_space;
mod borrowed;
mod debug;
mod dma;
mod domain;
mod errno;
mod event_fd;
mod fault_log;
#[cfg(unix)]
mod fd;
#[cfg(target_os = "linux")]
mod fuse;
mod handles;
mod ioas;
mod js;
mod js_bytes;
mod js_pci_model;
#[cfg(target_os = "linux")]
mod kvm;
mod memory;
mod numbers;
mod object;
mod pci_description;
mod pci_function;
mod pci_models;
mod promise;
mod raw;
mod realm;
mod region_mapping;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod run;
mod shared_objects;
mod spapr;
mod type1;
#[cfg(target_os = "linux")]
mod user;
#[cfg(target_os = "linux")]
mod uv;
mod v8_memory;
mod vfio_pci;
mod vfio_pci_feature;
mod views;
mod watch;

use napi::bindgen_prelude::Object;
use napi::{Env, JsValue};
use napi_derive::napi;

/// Completes the exports of one JavaScript environment: its realm and the raw callbacks.
#[napi(module_exports)]
pub fn exports(exports: Object, env: Env) -> napi::Result<()> {
    realm::enter(env.raw())?;
    raw::export(env.raw(), exports.raw())
}
