//! `NativeRun`: a program under way.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::{BigInt, Function};
use napi::{Env, JsValue};
use napi_derive::napi;
use vfio_run::{Action, Failure, Ioctls, Plan, Run, device_of};
use vfio_uapi::Errno;

use super::events::{Events, MappedRegisters, RunMail};
use crate::errno::{Result, failure, out_of_range, throw};
use crate::fd;
use crate::fuse::open_handle;
use crate::js::Callback;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use crate::promise::{JsPromise, promise};
use crate::realm::{self, Realm};

/// One step of the preparations: what, where, and what of.
#[napi(object, object_to_js = false)]
pub struct RunAction {
    /// `empty`, `directory`, `file`, `link`, `bind`, `machine` or `remove`.
    pub kind: String,
    /// Place.
    pub path: String,
    /// What is bound, or the target of a link.
    pub from: Option<String>,
}

/// A program and its surroundings.
#[napi(object, object_to_js = false)]
pub struct RunPlan {
    /// File of the program.
    pub program: String,
    /// Arguments, its name first.
    pub arguments: Vec<String>,
    /// Environment, `NAME=value`.
    pub environment: Vec<String>,
    /// Working directory.
    pub directory: String,
    /// Steps before it starts.
    pub actions: Vec<RunAction>,
    /// Requests that are answered here.
    pub ioctls: Vec<u32>,
}

/// Why nothing was started.
#[napi(object, object_from_js = false)]
pub struct RunFailure {
    /// The step that was refused.
    pub step: String,
    /// Name of the errno.
    pub code: &'static str,
}

/// A program on a machine. It keeps the event loop until `ended` was taken.
#[napi]
pub struct NativeRun {
    run: RefCell<Option<Run>>,
    ioctls: Option<Arc<Ioctls>>,
    machine: OwnedFd,
    events: Arc<Events>,
    failure: Option<Failure>,
    realm: Arc<Realm>,
    holds_loop: Cell<bool>,
}

impl RefUnwindSafe for NativeRun {}

/// Starts a program. `machine` is a mount that is nowhere, whose descriptor is duplicated; `wake` runs when there is mail.
#[napi(catch_unwind)]
pub fn run_program(env: Env, plan: RunPlan, machine: i32, wake: Function<(), ()>) -> Result<JsPromise> {
    let realm = realm::of(env.raw()).ok_or_else(|| failure("the addon was not registered here"))?;
    let events = Arc::new(Events::new(Arc::new(Callback::new(realm.clone(), wake.raw())?)));
    let plan = plan_of(plan)?;
    let kept = fd::duplicate(machine).map_err(throw)?;
    let moved = fd::duplicate(machine).map_err(throw)?;
    let (deferred, promise) = promise(env)?;
    let work = move || {
        let registers = Box::new(MappedRegisters(events.clone()));
        let told = events.clone();
        let started = device_of(kept.as_fd())
            .map_err(|errno| Failure { step: "looking at the machine's files".to_owned(), errno })
            .and_then(|device| Run::start(plan, moved, device, registers, move |ending| told.ended(ending)));
        let (run, ioctls, failure) = match started {
            Ok((run, ioctls)) => (Some(run), Some(Arc::new(ioctls)), None),
            Err(failure) => (None, None, Some(failure)),
        };
        if let Some(ioctls) = &ioctls {
            listen(ioctls, &events);
        }
        deferred.settle(Ok(move || {
            let holds_loop = Cell::new(run.is_some());
            if run.is_some() {
                realm.keep_loop();
            }
            NativeRun { run: RefCell::new(run), ioctls, machine: kept, events, failure, realm, holds_loop }
        }));
    };
    // On a thread of its own: what is mounted is looked up, which this thread answers.
    std::thread::Builder::new()
        .name("vfio-run start".into())
        .spawn(work)
        .map_err(|_| throw(Errno::EAGAIN))?;
    Ok(promise)
}

/// Tells of ioctls until there can be no more. Without a thread for it, their callers wait until they are killed.
fn listen(ioctls: &Arc<Ioctls>, events: &Arc<Events>) {
    let (ioctls, events) = (Arc::clone(ioctls), Arc::clone(events));
    let work = move || {
        while let Some(ioctl) = ioctls.next() {
            events.ioctl(ioctl);
        }
    };
    let _ = std::thread::Builder::new().name("vfio-run ioctls".into()).spawn(work);
}

#[napi]
impl NativeRun {
    /// Says why nothing was started.
    #[napi(catch_unwind)]
    pub fn failure(&self) -> Result<Option<RunFailure>> {
        let told = |failure: &Failure| RunFailure { step: failure.step.clone(), code: failure.errno.name() };
        Ok(self.failure.as_ref().map(told))
    }

    /// Takes the next mail; nothing: there is none, and the next wakes.
    #[napi(catch_unwind)]
    pub fn next(&self) -> Result<Option<RunMail>> {
        let mail = self.events.take();
        if mail.as_ref().is_some_and(|mail| mail.kind == "ended") {
            drop(self.run.borrow_mut().take());
            if self.holds_loop.replace(false) {
                self.realm.let_loop_end();
            }
        }
        Ok(mail)
    }

    /// Number of the program.
    #[napi(catch_unwind)]
    pub fn pid(&self) -> Result<i32> {
        Ok(self.run.borrow().as_ref().map_or(0, Run::pid))
    }

    /// Lets an ioctl return a value, or a negated errno.
    #[napi(catch_unwind)]
    pub fn answer(&self, id: BigInt, value: i32) -> Result<()> {
        self.ioctls()?.answer(u64(&id, "id")?, value.into());
        Ok(())
    }

    /// Lets the kernel do an ioctl.
    #[napi(catch_unwind)]
    pub fn pass(&self, id: BigInt) -> Result<()> {
        self.ioctls()?.pass(u64(&id, "id")?);
        Ok(())
    }

    /// Gives the caller of an ioctl a descriptor of a handle that JavaScript keeps in the machine's files.
    #[napi(catch_unwind)]
    pub fn install(&self, id: BigInt, handle: f64) -> Result<i32> {
        let file = open_handle(&self.machine, handle as u64).map_err(throw)?;
        self.ioctls()?.add(u64(&id, "id")?, file.as_fd()).map_err(throw)
    }

    /// Answers a read with bytes, a write with none.
    #[napi(catch_unwind)]
    pub fn accessed(&self, token: u32, data: JsBytes) -> Result<()> {
        self.events.answer(token, Ok(data.0));
        Ok(())
    }

    /// Refuses an access: the program gets its signal.
    #[napi(catch_unwind)]
    pub fn refused(&self, token: u32) -> Result<()> {
        self.events.answer(token, Err(Errno::EIO));
        Ok(())
    }

    /// Sends the program a signal.
    #[napi(catch_unwind)]
    pub fn signal(&self, signal: i32) -> Result<()> {
        if let Some(run) = &*self.run.borrow() {
            run.signal(signal);
        }
        Ok(())
    }

    /// Kills the program and all that came of it; `ended` tells when they are gone.
    #[napi(catch_unwind)]
    pub fn kill(&self) -> Result<()> {
        if let Some(run) = &mut *self.run.borrow_mut() {
            run.kill();
        }
        Ok(())
    }
}

impl NativeRun {
    fn ioctls(&self) -> Result<&Ioctls> {
        self.ioctls.as_deref().ok_or_else(|| throw(Errno::EBADF))
    }
}

fn plan_of(plan: RunPlan) -> Result<Plan> {
    let text = |text: String| CString::new(text).map_err(|_| out_of_range("plan"));
    let texts = |list: Vec<String>| list.into_iter().map(text).collect::<Result<Vec<_>>>();
    let action = |RunAction { kind, path, from }: RunAction| {
        let path = text(path)?;
        let from = || text(from.unwrap_or_default());
        Ok(match &*kind {
            "empty" => Action::Empty(path),
            "directory" => Action::Directory(path),
            "file" => Action::File(path),
            "link" => Action::Link(from()?, path),
            "bind" => Action::Bind(from()?, path),
            "machine" => Action::Machine(path),
            "remove" => Action::Remove(path),
            _ => return Err(out_of_range("kind")),
        })
    };
    Ok(Plan {
        program: text(plan.program)?,
        arguments: texts(plan.arguments)?,
        environment: texts(plan.environment)?,
        directory: text(plan.directory)?,
        actions: plan.actions.into_iter().map(action).collect::<Result<Vec<_>>>()?,
        ioctls: plan.ioctls,
    })
}
