//! Starting a program, and its end.

// UNSAFETY: forks, and reads what a process between fork and exec has written.
#![expect(unsafe_code, reason = "forks")]

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use libc::c_int;
use vfio_uapi::Errno;

use crate::child::{self, Message, Prepared};
use crate::errno;
use crate::filter;
use crate::ioctls::Ioctls;
use crate::plan::{Failure, Plan};
use crate::tracer::{Registers, Tracer};

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Killed(i32),
    /// It never began.
    Failed(Failure),
}

/// A program under way. Dropping it kills the program and all that came of it.
#[derive(Debug)]
pub struct Run {
    pid: i32,
    life: Option<OwnedFd>,
}

impl Run {
    /// Starts a program; `ended` is called, on another thread, when it and its children are gone.
    ///
    /// `machine` is a mount that is nowhere yet, of the file system with the number `device`: requests to it are answered while
    /// this waits, by other threads. `ended` is not called where this fails.
    ///
    /// # Errors
    /// The step that was refused: a namespace, a mount, a filter, the tracer, or the program itself.
    pub fn start(
        plan: Plan,
        machine: OwnedFd,
        device: u64,
        registers: Box<dyn Registers>,
        ended: impl FnOnce(Ending) + Send + 'static,
    ) -> Result<(Self, Ioctls), Failure> {
        let (life_read, life) = pipe().map_err(|errno| Failure::new("making a pipe", errno))?;
        let (told, result) = channel();
        let tracer = Tracer::new(device, registers);
        let work = move || {
            let launched = launch(&plan, &machine, life_read, &tracer);
            drop(machine);
            match launched {
                Err(failure) => drop(told.send(Err(failure))),
                Ok(launched) => follow(&plan, launched, &tracer, &told, ended),
            }
        };
        let spawned = thread::Builder::new().name("vfio-run".into()).spawn(work);
        spawned.map_err(|_| Failure::new("starting a thread", Errno::EAGAIN))?;
        let (pid, ioctls) = result.recv().map_err(|_| Failure::new("starting a thread", Errno::EIO))??;
        Ok((Self { pid, life: Some(life) }, ioctls))
    }

    /// Returns the program's number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends the program a signal. One that has ended gets none.
    pub fn signal(&self, signal: i32) {
        if self.life.is_some() {
            // SAFETY: numbers. The guard collects the program only when it tells of the end.
            let _ = unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Kills the program and all that came of it. Idempotent.
    pub fn kill(&mut self) {
        drop(self.life.take());
    }
}

/// What there is once the program waits to be let go.
struct Launched {
    guard: c_int,
    pid: i32,
    report: OwnedFd,
    go: OwnedFd,
    listener: OwnedFd,
}

fn launch(plan: &Plan, machine: &OwnedFd, life: OwnedFd, tracer: &Tracer) -> Result<Launched, Failure> {
    let failed = |step: &'static str| move |errno| Failure::new(step, errno);
    let (report, report_write) = pipe().map_err(failed("making a pipe"))?;
    let (go_read, go) = pipe().map_err(failed("making a pipe"))?;
    let (socket, socket_away) = sockets().map_err(failed("making a socket"))?;
    let mut program = filter::program(&plan.ioctls);
    let length = program.len() as u16;
    let (arguments, environment) = (pointers(&plan.arguments), pointers(&plan.environment));
    let prepared = Prepared {
        program: &plan.program,
        arguments: &arguments,
        environment: &environment,
        directory: &plan.directory,
        actions: &plan.actions,
        filter: libc::sock_fprog { len: length, filter: program.as_mut_ptr() },
        report: report_write.as_raw_fd(),
        life: life.as_raw_fd(),
        go: go_read.as_raw_fd(),
        machine: machine.as_raw_fd(),
        listener: socket_away.as_raw_fd(),
    };
    // SAFETY: the child does nothing but what `guard` does, which is made for that.
    let guard = unsafe { child::fork() };
    if guard == 0 {
        // SAFETY: this is the new process, with one thread.
        unsafe { child::guard(&prepared) }
    }
    if guard < 0 {
        return Err(Failure::new("starting a process", errno::last()));
    }
    drop((report_write, go_read, socket_away, life));
    let failed = |failure| {
        collect(guard);
        Err(failure)
    };
    let pid = match next(&report) {
        Some(Message { step: child::STARTED, value }) => value,
        Some(message) => return failed(told(plan, message)),
        None => return failed(Failure::new("starting a process", Errno::ECHILD)),
    };
    let Some(listener) = receive(&socket) else {
        let told = next(&report).map(|message| told(plan, message));
        drop(go);
        return failed(told.unwrap_or_else(|| Failure::new("installing a filter", Errno::ECHILD)));
    };
    if let Err(errno) = tracer.seize(pid) {
        drop(go);
        return failed(Failure::new("tracing the program", errno));
    }
    Ok(Launched { guard, pid, report, go, listener })
}

/// Lets the program go and follows it.
fn follow(
    plan: &Plan,
    launched: Launched,
    tracer: &Tracer,
    started: &Sender<Result<(i32, Ioctls), Failure>>,
    ended: impl FnOnce(Ending),
) {
    let Launched { guard, pid, report, go, listener } = launched;
    let _ = started.send(Ok((pid, Ioctls::new(listener))));
    // SAFETY: one byte on the stack. A program that was killed meanwhile does not read it.
    let _ = unsafe { libc::write(go.as_raw_fd(), [1_u8].as_ptr().cast(), 1) };
    drop(go);
    tracer.follow(guard);
    let mut ending = Ending::Killed(libc::SIGKILL);
    while let Some(message) = next(&report) {
        match message.step {
            child::ENDED if matches!(ending, Ending::Failed(_)) => {}
            child::ENDED if libc::WIFEXITED(message.value) => {
                ending = Ending::Exited(libc::WEXITSTATUS(message.value));
            }
            child::ENDED => ending = Ending::Killed(libc::WTERMSIG(message.value)),
            _ => ending = Ending::Failed(told(plan, message)),
        }
    }
    ended(ending);
}

/// Puts a message of the guard into words.
fn told(plan: &Plan, message: Message) -> Failure {
    let step = match message.step {
        child::UNSHARE => "making a mount namespace".to_owned(),
        child::PRIVATE => "making mounts private".to_owned(),
        child::OLD_ROOT => "opening /dev and /sys".to_owned(),
        child::FORK => "starting a process".to_owned(),
        child::FILTER => "installing a filter for system calls".to_owned(),
        child::DIRECTORY => format!("changing to {}", plan.directory.to_string_lossy()),
        child::EXECUTE => format!("starting {}", plan.program.to_string_lossy()),
        step => {
            let action = usize::try_from(step).ok().and_then(|step| plan.actions.get(step));
            let path = action.map(|action| action.path().to_string_lossy().into_owned());
            format!("preparing {}", path.unwrap_or_default())
        }
    };
    Failure { step, errno: errno::code(message.value) }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn next(report: &OwnedFd) -> Option<Message> {
    let mut message = Message::default();
    loop {
        // SAFETY: the message is plain numbers on the stack.
        let done = unsafe { libc::read(report.as_raw_fd(), (&raw mut message).cast(), size_of::<Message>()) };
        if done == size_of::<Message>() as isize {
            return Some(message);
        }
        if done >= 0 || errno::last() != Errno::EINTR {
            return None;
        }
    }
}

/// Waits for the guard, which ends.
fn collect(guard: c_int) {
    let mut status = 0;
    // SAFETY: the status lies on the stack.
    while unsafe { libc::waitpid(guard, &raw mut status, libc::__WALL) } < 0 && errno::last() == Errno::EINTR
    {
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    // SAFETY: two numbers on the stack.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(errno::last());
    }
    Ok(own(fds))
}

fn sockets() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: two numbers on the stack.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } < 0 {
        return Err(errno::last());
    }
    Ok(own(fds))
}

fn own([first, second]: [c_int; 2]) -> (OwnedFd, OwnedFd) {
    // SAFETY: the system has just made both for us.
    unsafe { (OwnedFd::from_raw_fd(first), OwnedFd::from_raw_fd(second)) }
}

/// Takes the descriptor that comes through a socket; `None`: the other end has gone.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0_u8; 1];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 4];
    // SAFETY: the message lies on the stack; a descriptor that came is ours.
    unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        if libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) < 1 {
            return None;
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return None;
        }
        Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<c_int>().read_unaligned()))
    }
}

/// Tells which file system a descriptor's file is on, without asking the file system, which may be served by this thread.
///
/// # Errors
/// `EBADF`.
pub fn device_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the structure lies on the stack, and zeroes are one.
    unsafe {
        if libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, 0, stat.as_mut_ptr()) < 0 {
            return Err(errno::last());
        }
        let stat = stat.assume_init();
        Ok(libc::makedev(stat.stx_dev_major, stat.stx_dev_minor))
    }
}
