//! A request as JavaScript is told of it.

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_fuse::{Operation, Request};

use crate::js_bytes::JsBytes;

/// A request, or what else happens to a file system. What does not apply is absent.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct FuseMail {
    /// By which it is answered; of an interrupt, the request that is meant.
    pub token: u32,
    /// The operation, or `forget`, `interrupt`, `ended`.
    pub op: &'static str,
    /// The node.
    pub node: Option<f64>,
    /// User of the caller.
    pub uid: Option<u32>,
    /// Group of the caller.
    pub gid: Option<u32>,
    /// Thread of the caller.
    pub tid: Option<u32>,
    /// The session itself asks, to announce a change.
    pub own: Option<bool>,
    /// Name in the directory that is the node.
    pub name: Option<String>,
    /// New name, or target of a link.
    pub new_name: Option<String>,
    /// Directory of the new name, or node that gets another name.
    pub other_node: Option<f64>,
    /// What opening answered.
    pub fh: Option<f64>,
    /// Flags of the operation.
    pub flags: Option<u32>,
    /// Offset in the file or in the listing.
    pub offset: Option<f64>,
    /// Bytes wanted; of `setattr` the length to be set; of `forget` how many lookups.
    pub size: Option<f64>,
    /// Permission bits, of `access` the mask, of `poll` the events.
    pub mode: Option<u32>,
    /// Which attributes are to be set.
    pub valid: Option<u32>,
    /// Owner to be set.
    pub new_uid: Option<u32>,
    /// Group to be set.
    pub new_gid: Option<u32>,
    /// Command of an ioctl.
    pub cmd: Option<u32>,
    /// Its argument, as it was passed.
    pub arg: Option<BigInt>,
    /// What is written, or goes into an ioctl.
    pub data: Option<JsBytes>,
    /// A page of a mapping is to be filled.
    pub page: Option<bool>,
    /// Who waits for readiness.
    pub kh: Option<f64>,
    /// Why the session has ended, if it was not closed.
    pub reason: Option<&'static str>,
}

impl FuseMail {
    /// Says something that is no request.
    pub(super) fn event(op: &'static str) -> Self {
        Self { op, ..Self::default() }
    }

    /// Says what a request asks for, and takes the bytes out of it.
    pub(super) fn request(token: u32, request: &mut Request) -> Self {
        let caller = request.caller();
        let mut told = Self {
            token,
            node: Some(request.node() as f64),
            uid: Some(caller.uid),
            gid: Some(caller.gid),
            tid: Some(caller.tid),
            own: request.is_own().then_some(true),
            ..Self::default()
        };
        told.op = match request.operation() {
            Operation::Lookup { name } => told.named("lookup", name),
            Operation::Getattr { fh } => {
                told.fh = fh.map(|fh| fh as f64);
                "getattr"
            }
            Operation::Setattr(set) => {
                (told.valid, told.size, told.mode) =
                    (Some(set.valid.bits()), Some(set.size as f64), Some(set.mode));
                (told.new_uid, told.new_gid) = (Some(set.uid), Some(set.gid));
                told.of_file("setattr", set.fh)
            }
            Operation::Readlink => "readlink",
            Operation::Symlink { name, target } => {
                told.new_name = text(target);
                told.named("symlink", name)
            }
            Operation::Mknod { name, mode, .. } => {
                told.mode = Some(*mode);
                told.named("mknod", name)
            }
            Operation::Mkdir { name, mode } => {
                told.mode = Some(*mode);
                told.named("mkdir", name)
            }
            Operation::Unlink { name } => told.named("unlink", name),
            Operation::Rmdir { name } => told.named("rmdir", name),
            Operation::Rename { name, new_parent, new_name, flags } => {
                (told.other_node, told.new_name) = (Some(*new_parent as f64), text(new_name));
                told.flags = Some(*flags);
                told.named("rename", name)
            }
            Operation::Link { name, existing } => {
                told.other_node = Some(*existing as f64);
                told.named("link", name)
            }
            Operation::Open { flags } => told.flagged("open", *flags),
            Operation::Create { name, flags, mode } => {
                (told.flags, told.mode) = (Some(*flags), Some(*mode));
                told.named("create", name)
            }
            Operation::Read { fh, offset, size, flags, page } => {
                told.page = page.then_some(true);
                (told.offset, told.size, told.flags) =
                    (Some(*offset as f64), Some((*size).into()), Some(*flags));
                told.of_file("read", *fh)
            }
            Operation::Write { fh, offset, flags, .. } => {
                (told.offset, told.flags) = (Some(*offset as f64), Some(*flags));
                told.of_file("write", *fh)
            }
            Operation::Statfs => "statfs",
            Operation::Release { fh, flags } => {
                told.flags = Some(*flags);
                told.of_file("release", *fh)
            }
            Operation::Fsync { fh } => told.of_file("fsync", *fh),
            Operation::Flush { fh, .. } => told.of_file("flush", *fh),
            Operation::Opendir { flags } => told.flagged("opendir", *flags),
            Operation::Readdir { fh, offset, size } => {
                (told.offset, told.size) = (Some(*offset as f64), Some((*size).into()));
                told.of_file("readdir", *fh)
            }
            Operation::Releasedir { fh } => told.of_file("releasedir", *fh),
            Operation::Access { mask } => {
                told.mode = Some(*mask);
                "access"
            }
            Operation::Ioctl { fh, flags, cmd, arg, out_size, .. } => {
                (told.flags, told.cmd, told.arg) = (Some(*flags), Some(*cmd), Some((*arg).into()));
                told.size = Some((*out_size).into());
                told.of_file("ioctl", *fh)
            }
            Operation::Poll { fh, kh, flags, events } => {
                (told.kh, told.mode, told.flags) = (Some(*kh as f64), Some(*events), Some(*flags));
                told.of_file("poll", *fh)
            }
            Operation::Other { .. } => "other",
        };
        told.data = request.take_data().map(JsBytes);
        told
    }

    fn named(&mut self, op: &'static str, name: &[u8]) -> &'static str {
        self.name = text(name);
        op
    }

    fn of_file(&mut self, op: &'static str, fh: u64) -> &'static str {
        self.fh = Some(fh as f64);
        op
    }

    fn flagged(&mut self, op: &'static str, flags: u32) -> &'static str {
        self.flags = Some(flags);
        op
    }
}

/// A name, which was checked to be text.
fn text(name: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(name).into_owned())
}
