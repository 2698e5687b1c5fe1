//! `NativeFuse`: a mounted file system, its requests and their answers.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, IntoRawFd};
use std::panic::RefUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::Function;
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_fuse::{Attributes, Change, Listed, MountError, MountOptions, OpenFlags, Request, Session, Target};
use vfio_uapi::Errno;

use super::inbox::{Inbox, Mail};
use super::told::FuseMail;
use crate::errno::{Result, failure, out_of_range, throw};
use crate::fd;
use crate::js::Callback;
use crate::js_bytes::JsBytes;
use crate::promise::{JsPromise, promise};
use crate::realm::{self, Realm};

/// A file system that JavaScript serves. It keeps the event loop until `ended` was taken.
#[napi]
pub struct NativeFuse {
    session: RefCell<Option<Session>>,
    inbox: Arc<Inbox>,
    failure: Option<MountError>,
    realm: Arc<Realm>,
    holds_loop: Cell<bool>,
}

impl RefUnwindSafe for NativeFuse {}

/// How a file system is mounted.
#[napi(object, object_to_js = false)]
pub struct FuseSettings {
    /// Name of the source.
    pub name: Option<String>,
    /// Other users may look in.
    pub allow_other: Option<bool>,
    /// The kernel checks owners and permission bits.
    pub default_permissions: Option<bool>,
    /// Files may have others behind their mappings.
    pub passthrough: Option<bool>,
}

/// Attributes of a node.
#[napi(object, object_to_js = false)]
pub struct FuseAttributes {
    /// Number of the node.
    pub node: f64,
    /// File type and permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: f64,
    /// Names; default 1.
    pub nlink: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number.
    pub rdev: Option<u32>,
    /// Seconds since 1970.
    pub mtime: Option<f64>,
}

/// An entry of a directory.
#[napi(object, object_to_js = false)]
pub struct FuseListed {
    /// Name.
    pub name: String,
    /// Number of the node.
    pub node: f64,
    /// File type and permission bits.
    pub mode: u32,
}

/// Why nothing was mounted.
#[napi(object, object_from_js = false)]
pub struct FuseFailure {
    /// The step that was refused.
    pub step: &'static str,
    /// Name of the errno.
    pub code: &'static str,
}

/// Mounts a file system at a directory, or nowhere yet. `wake` runs when there is mail to take.
#[napi(catch_unwind)]
pub fn mount_fuse(
    env: Env,
    directory: Option<String>,
    settings: FuseSettings,
    wake: Function<(), ()>,
) -> Result<JsPromise> {
    let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
    let inbox = Arc::new(Inbox::new(Arc::new(Callback::new(realm.clone(), wake.raw())?)));
    let target = directory.map_or(Target::Detached, |path| Target::Directory(PathBuf::from(path)));
    let options = options(settings);
    let (deferred, promise) = promise(env)?;
    let work = move || {
        let mounted = Session::mount(&target, &options, inbox.clone());
        let (session, failure) = match mounted {
            Ok(session) => (Some(session), None),
            Err(error) => (None, Some(error)),
        };
        deferred.settle(Ok(move || {
            let holds_loop = session.is_some();
            if holds_loop {
                realm.keep_loop();
            }
            let (session, holds_loop) = (RefCell::new(session), Cell::new(holds_loop));
            NativeFuse { session, inbox, failure, realm, holds_loop }
        }));
    };
    // On a thread of its own: finding the directory may need this thread's answers.
    std::thread::Builder::new()
        .name("vfio-fuse mount".into())
        .spawn(work)
        .map_err(|_| throw(Errno::EAGAIN))?;
    Ok(promise)
}

#[napi]
impl NativeFuse {
    /// Says why nothing was mounted.
    #[napi(catch_unwind)]
    pub fn failure(&self) -> Result<Option<FuseFailure>> {
        let told = |failure: &MountError| FuseFailure { step: failure.step, code: failure.errno.name() };
        Ok(self.failure.as_ref().map(told))
    }

    /// Takes the next mail; nothing: there is none, and the next wakes.
    #[napi(catch_unwind)]
    pub fn next(&self) -> Result<Option<FuseMail>> {
        while let Some(mail) = self.inbox.take() {
            return Ok(Some(match mail {
                // Answered already: the session has ended meanwhile.
                Mail::Request(token) => {
                    match self.inbox.with(token, |request| FuseMail::request(token, request)) {
                        Some(told) => told,
                        None => continue,
                    }
                }
                Mail::Forget(node, lookups) => FuseMail {
                    node: Some(node as f64),
                    size: Some(lookups as f64),
                    ..FuseMail::event("forget")
                },
                Mail::Interrupt(token) => FuseMail { token, ..FuseMail::event("interrupt") },
                Mail::Ended(reason) => {
                    self.end();
                    FuseMail { reason: reason.map(Errno::name), ..FuseMail::event("ended") }
                }
            }));
        }
        Ok(None)
    }

    /// Refuses a request with an errno, positive.
    #[napi(catch_unwind)]
    pub fn refuse(&self, token: u32, errno: i32) -> Result<()> {
        let errno = Errno::from_code(errno).ok_or_else(|| out_of_range("errno"))?;
        self.answer(token, |request| request.reply_error(errno));
        Ok(())
    }

    /// Says that it is done.
    #[napi(catch_unwind)]
    pub fn done(&self, token: u32) -> Result<()> {
        self.answer(token, Request::reply_done);
        Ok(())
    }

    /// Answers a lookup.
    #[napi(catch_unwind)]
    pub fn entry(&self, token: u32, attributes: FuseAttributes) -> Result<()> {
        let attributes = native(&attributes);
        self.answer(token, |request| request.reply_entry(&attributes));
        Ok(())
    }

    /// Answers with attributes.
    #[napi(catch_unwind)]
    pub fn attributes(&self, token: u32, attributes: FuseAttributes) -> Result<()> {
        let attributes = native(&attributes);
        self.answer(token, |request| request.reply_attributes(&attributes));
        Ok(())
    }

    /// Answers an open.
    #[napi(catch_unwind)]
    pub fn opened(&self, token: u32, fh: f64, flags: u32, backing: i32) -> Result<()> {
        let flags = OpenFlags::from_bits_truncate(flags);
        self.answer(token, |request| request.reply_opened(fh as u64, flags, backing));
        Ok(())
    }

    /// Answers with bytes.
    #[napi(catch_unwind)]
    pub fn data(&self, token: u32, data: JsBytes) -> Result<()> {
        self.answer(token, |request| request.reply_data(&data));
        Ok(())
    }

    /// Answers a write.
    #[napi(catch_unwind)]
    pub fn written(&self, token: u32, count: u32) -> Result<()> {
        self.answer(token, |request| request.reply_written(count));
        Ok(())
    }

    /// Answers an ioctl.
    #[napi(catch_unwind)]
    pub fn ioctl(&self, token: u32, result: i32, data: Option<JsBytes>) -> Result<()> {
        let data = data.map_or_else(Vec::new, |data| data.0);
        self.answer(token, |request| request.reply_ioctl(result, &data));
        Ok(())
    }

    /// Answers a poll.
    #[napi(catch_unwind)]
    pub fn polled(&self, token: u32, events: u32) -> Result<()> {
        self.answer(token, |request| request.reply_poll(events));
        Ok(())
    }

    /// Answers a readdir with all entries of the directory.
    #[napi(catch_unwind)]
    pub fn listed(&self, token: u32, entries: Vec<FuseListed>) -> Result<()> {
        let entry =
            |FuseListed { name, node, mode }| Listed { name: name.into_bytes(), node: node as u64, mode };
        let entries: Vec<Listed> = entries.into_iter().map(entry).collect();
        self.answer(token, |request| request.reply_list(&entries));
        Ok(())
    }

    /// Answers a statfs.
    #[napi(catch_unwind)]
    pub fn statfs(&self, token: u32) -> Result<()> {
        self.answer(token, Request::reply_statfs);
        Ok(())
    }

    /// Has the kernel look up a name anew, on a thread of its own.
    #[napi(catch_unwind)]
    pub fn invalidate_entry(&self, parent: f64, name: String) -> Result<()> {
        self.notify(move |notifier| notifier.invalidate_entry(parent as u64, name.as_bytes()))
    }

    /// Says that a name has gone, with its node.
    #[napi(catch_unwind)]
    pub fn delete_entry(&self, parent: f64, child: f64, name: String) -> Result<()> {
        self.notify(move |notifier| notifier.delete(parent as u64, child as u64, name.as_bytes()))
    }

    /// Has the kernel ask for attributes anew.
    #[napi(catch_unwind)]
    pub fn invalidate_node(&self, node: f64) -> Result<()> {
        self.notify(move |notifier| notifier.invalidate_node(node as u64))
    }

    /// Tells those who watch of a change that has happened at a path below the root: `make-directory`, `make-file`, `make-device`,
    /// `make-link`, `remove-directory`, `remove`, `write`.
    #[napi(catch_unwind)]
    pub fn announce(&self, change: String, path: String) -> Result<()> {
        let change = match &*change {
            "make-directory" => Change::MadeDirectory,
            "make-file" => Change::MadeFile,
            "make-device" => Change::MadeDevice,
            "make-link" => Change::MadeLink,
            "remove-directory" => Change::RemovedDirectory,
            "remove" => Change::Removed,
            "write" => Change::Written,
            _ => return Err(out_of_range("change")),
        };
        if let Some(session) = &*self.session.borrow() {
            session.announce(change, PathBuf::from(path));
        }
        Ok(())
    }

    /// Wakes who polls.
    #[napi(catch_unwind)]
    pub fn wake_poll(&self, kh: f64) -> Result<()> {
        // Takes no lock that a request could hold.
        if let Some(session) = &*self.session.borrow() {
            // ENOENT: nobody waits any more.
            let _ = session.notifier().wake_poll(kh as u64);
        }
        Ok(())
    }

    /// Registers a file to stand behind mappings.
    #[napi(catch_unwind)]
    pub fn open_backing(&self, file: i32) -> Result<i32> {
        let file = fd::duplicate(file).map_err(throw)?;
        self.with_session(|session| session.open_backing(file.as_fd()))
    }

    /// Forgets such a file.
    #[napi(catch_unwind)]
    pub fn close_backing(&self, id: i32) -> Result<()> {
        self.with_session(|session| session.close_backing(id))
    }

    /// Gives a new descriptor of a mount that is nowhere yet.
    #[napi(catch_unwind)]
    pub fn mount_fd(&self) -> Result<i32> {
        self.with_session(Session::mount_fd).map(IntoRawFd::into_raw_fd)
    }

    /// Takes the mount away; `ended` tells when that is done.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        if let Some(session) = &*self.session.borrow() {
            session.begin_close();
        }
        Ok(())
    }
}

impl NativeFuse {
    fn answer(&self, token: u32, answer: impl FnOnce(Request)) {
        if let Some(request) = self.inbox.answering(token) {
            answer(request);
        }
    }

    fn with_session<T>(&self, work: impl FnOnce(&Session) -> std::result::Result<T, Errno>) -> Result<T> {
        let session = self.session.borrow();
        work(session.as_ref().ok_or_else(|| throw(Errno::EBADF))?).map_err(throw)
    }

    /// Tells the kernel something on the thread that does nothing else: the kernel may wait for answers of this one.
    fn notify(
        &self,
        tell: impl FnOnce(&vfio_fuse::Notifier) -> std::result::Result<(), Errno> + Send + 'static,
    ) -> Result<()> {
        if let Some(session) = &*self.session.borrow() {
            session.tell(move |notifier| {
                // ENOENT: the kernel does not know what has changed.
                let _ = tell(notifier);
            });
        }
        Ok(())
    }

    fn end(&self) {
        drop(self.session.borrow_mut().take());
        if self.holds_loop.replace(false) {
            self.realm.let_loop_end();
        }
    }
}

impl Drop for NativeFuse {
    fn drop(&mut self) {
        self.end();
    }
}

fn options(settings: FuseSettings) -> MountOptions {
    let default = MountOptions::default();
    MountOptions {
        name: settings.name.unwrap_or(default.name),
        allow_other: settings.allow_other.unwrap_or(default.allow_other),
        default_permissions: settings.default_permissions.unwrap_or(default.default_permissions),
        passthrough: settings.passthrough.unwrap_or(default.passthrough),
    }
}

fn native(attributes: &FuseAttributes) -> Attributes {
    Attributes {
        node: attributes.node as u64,
        mode: attributes.mode,
        size: attributes.size as u64,
        links: attributes.nlink.unwrap_or(1),
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev.unwrap_or(0),
        mtime: attributes.mtime.unwrap_or(0.0) as u64,
    }
}
