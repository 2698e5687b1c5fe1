//! What runs between fork and exec, in the guard and in the program's process.
//!
//! The process that forks has many threads, so nothing here may allocate or take a lock: everything that is needed was made
//! before ([`Prepared`]), and what fails is told through a pipe by the number of a step.

// UNSAFETY: between fork and exec only raw system calls are allowed.
#![expect(unsafe_code, reason = "system calls between fork and exec")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use libc::{c_int, c_ulong, sock_fprog};

use crate::plan::Action;

/// Steps that have no place in the plan, as [`Message::step`] names them.
pub(crate) const UNSHARE: i32 = -1;
pub(crate) const PRIVATE: i32 = -2;
pub(crate) const FORK: i32 = -3;
pub(crate) const FILTER: i32 = -4;
pub(crate) const DIRECTORY: i32 = -5;
pub(crate) const EXECUTE: i32 = -6;
pub(crate) const OLD_ROOT: i32 = -7;
/// The program's number, and how it ended.
pub(crate) const STARTED: i32 = 1 << 20;
pub(crate) const ENDED: i32 = STARTED + 1;

/// Descriptors that the guard keeps, by their new numbers.
const REPORT: c_int = 3;
const LIFE: c_int = 4;
const GO: c_int = 5;
const MACHINE: c_int = 6;
const LISTENER: c_int = 7;
const OLD: c_int = 8;
const AWAY: c_int = 64;

/// What the guard tells.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// A step, [`STARTED`] or [`ENDED`].
    pub(crate) step: i32,
    /// An errno, a process or a wait status.
    pub(crate) value: i32,
}

/// Everything that is needed after the fork.
pub(crate) struct Prepared<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a [*const c_char],
    pub(crate) environment: &'a [*const c_char],
    pub(crate) directory: &'a CStr,
    pub(crate) actions: &'a [Action],
    pub(crate) filter: sock_fprog,
    /// Write end: messages.
    pub(crate) report: c_int,
    /// Read end: ends when the launching process does.
    pub(crate) life: c_int,
    /// Read end: a byte lets the program start.
    pub(crate) go: c_int,
    /// The machine's file system.
    pub(crate) machine: c_int,
    /// A socket that takes the listener.
    pub(crate) listener: c_int,
}

/// Is the guard. Returns never.
///
/// # Safety
/// The process was just forked and has this thread alone.
pub(crate) unsafe fn guard(plan: &Prepared<'_>) -> ! {
    // SAFETY: system calls on numbers and on memory that was prepared.
    unsafe {
        keep([plan.report, plan.life, plan.go, plan.machine, plan.listener]);
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"vfio-run-guard".as_ptr(), 0, 0, 0);
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP, libc::SIGPIPE]
        {
            libc::signal(signal, libc::SIG_IGN);
        }
        if let Err((step, errno)) = surroundings(plan.actions) {
            fail(step, errno);
        }
        let child = fork();
        if child == 0 {
            let (step, errno) = program(plan);
            tell(step, errno);
            libc::_exit(127);
        }
        if child < 0 {
            fail(FORK, last());
        }
        libc::close(GO);
        libc::close(LISTENER);
        libc::close(MACHINE);
        libc::close(OLD);
        tell(STARTED, child);
        let status = watch(child);
        tell(ENDED, status);
        libc::_exit(0)
    }
}

/// Makes a process. Handlers that libraries have registered for that do not run: they would reach for descriptors which are
/// ours in the new process.
///
/// # Safety
/// The new process makes nothing but system calls.
pub(crate) unsafe fn fork() -> libc::pid_t {
    // SAFETY: without flags that is what fork does; the stack is copied.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

/// Moves the descriptors to where they are expected and closes all others, the launching process' own among them.
unsafe fn keep(given: [c_int; 5]) {
    // SAFETY: numbers only.
    unsafe {
        let mut away = [0; 5];
        for (to, from) in away.iter_mut().zip(given) {
            *to = libc::fcntl(from, libc::F_DUPFD, AWAY);
        }
        for (to, from) in [REPORT, LIFE, GO, MACHINE, LISTENER].into_iter().zip(away) {
            libc::dup2(from, to);
        }
        libc::syscall(libc::SYS_close_range, OLD, c_int::MAX, 0);
    }
}

/// Makes the namespace and what is in it.
unsafe fn surroundings(actions: &[Action]) -> Result<(), (i32, c_int)> {
    // SAFETY: paths are terminated; the calls take no other memory.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return Err((UNSHARE, last()));
        }
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        if libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), flags, ptr::null()) != 0 {
            return Err((PRIVATE, last()));
        }
        // What is under the paths that will be covered stays reachable through copies of the two trees.
        let (dev, sys) = (copy_of(c"/dev"), copy_of(c"/sys"));
        if dev < 0 || sys < 0 {
            return Err((OLD_ROOT, last()));
        }
        for (step, action) in actions.iter().enumerate() {
            if act(action, [dev, sys]) != 0 {
                return Err((step as i32, last()));
            }
        }
        libc::close(dev);
        libc::close(sys);
    }
    Ok(())
}

unsafe fn copy_of(path: &CStr) -> c_int {
    // SAFETY: the path is terminated.
    unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) }
}

unsafe fn act(action: &Action, [dev, sys]: [c_int; 2]) -> c_int {
    // SAFETY: paths are terminated; the calls take no other memory.
    unsafe {
        match action {
            Action::Empty(at) => libc::mount(
                c"vfio-run".as_ptr(),
                at.as_ptr(),
                c"tmpfs".as_ptr(),
                libc::MS_NOSUID,
                c"mode=755,size=64k,nr_inodes=16384".as_ptr().cast(),
            ),
            Action::Directory(at) => libc::mkdir(at.as_ptr(), 0o755),
            Action::File(at) => {
                let fd = libc::open(at.as_ptr(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC, 0o644);
                if fd < 0 { fd } else { libc::close(fd) }
            }
            Action::Link(target, at) => libc::symlink(target.as_ptr(), at.as_ptr()),
            Action::Bind(from, at) => bind(from, at, [dev, sys]),
            Action::Machine(at) => {
                const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
                libc::syscall(
                    libc::SYS_move_mount,
                    MACHINE,
                    c"".as_ptr(),
                    libc::AT_FDCWD,
                    at.as_ptr(),
                    MOVE_MOUNT_F_EMPTY_PATH,
                ) as c_int
            }
            Action::Remove(at) => libc::umount2(at.as_ptr(), libc::MNT_DETACH),
        }
    }
}

/// Binds; `@/dev/…` and `@/sys/…` are looked up below what was there before.
unsafe fn bind(from: &CString, at: &CString, [dev, sys]: [c_int; 2]) -> c_int {
    const OPEN_TREE_CLONE: c_int = 1;
    const AT_RECURSIVE: c_int = 0x8000;
    const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
    let bytes = from.as_bytes_with_nul();
    // `from` with `@/dev/` or `@/sys/` in front is as long as that at least.
    let (below, name) = match bytes {
        [b'@', b'/', b'd', b'e', b'v', b'/', ..] => (dev, &bytes[6..]),
        [b'@', b'/', b's', b'y', b's', b'/', ..] => (sys, &bytes[6..]),
        _ => (libc::AT_FDCWD, bytes),
    };
    // SAFETY: both are terminated: a tail of a terminated string is.
    unsafe {
        let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW;
        let tree = libc::syscall(libc::SYS_open_tree, below, name.as_ptr(), flags) as c_int;
        if tree < 0 {
            return tree;
        }
        let (here, empty) = (libc::AT_FDCWD, c"".as_ptr());
        let done =
            libc::syscall(libc::SYS_move_mount, tree, empty, here, at.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH)
                as c_int;
        libc::close(tree);
        done
    }
}

/// Becomes the program, or says why it cannot.
unsafe fn program(plan: &Prepared<'_>) -> (i32, c_int) {
    // SAFETY: everything was prepared before the fork.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::close(LIFE);
        libc::close(OLD);
        libc::close(MACHINE);
        let listener = install(&plan.filter);
        if listener < 0 {
            return (FILTER, last());
        }
        if send(listener) < 0 {
            return (FILTER, last());
        }
        libc::close(listener);
        libc::close(LISTENER);
        let mut byte = 0_u8;
        if libc::read(GO, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(127); // the launching process has died
        }
        libc::close(GO);
        libc::fcntl(REPORT, libc::F_SETFD, libc::FD_CLOEXEC);
        for standard in 0..3 {
            libc::fcntl(standard, libc::F_SETFD, 0); // Node keeps these from its children
        }
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if libc::chdir(plan.directory.as_ptr()) != 0 {
            return (DIRECTORY, last());
        }
        libc::execve(plan.program.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr());
        (EXECUTE, last())
    }
}

unsafe fn install(filter: &sock_fprog) -> c_int {
    // A caller that waits is not disturbed by signals that do not kill it, where the kernel has that (5.19).
    const WAIT_KILLABLE: c_ulong = 1 << 5;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the filter was prepared and lives on.
    unsafe {
        let set = |flags: c_ulong| {
            let filter: *const sock_fprog = filter;
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, filter) as c_int
        };
        let listener = set(flags | WAIT_KILLABLE);
        if listener < 0 && last() == libc::EINVAL { set(flags) } else { listener }
    }
}

/// Sends a descriptor through the socket.
unsafe fn send(fd: c_int) -> isize {
    let mut byte = [0_u8; 1];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 4];
    // SAFETY: the message lies on the stack; 32 bytes hold a header and one descriptor.
    unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(fd);
        libc::sendmsg(LISTENER, &raw const message, 0)
    }
}

/// Waits for the program's end or the launching process', kills what is left, and returns how the program ended.
unsafe fn watch(child: libc::pid_t) -> c_int {
    // SAFETY: numbers, and memory on the stack.
    unsafe {
        let program = libc::syscall(libc::SYS_pidfd_open, child, 0) as c_int;
        let mut ended = None;
        while ended.is_none() {
            let mut ready = [
                libc::pollfd { fd: LIFE, events: libc::POLLIN, revents: 0 },
                libc::pollfd { fd: program, events: libc::POLLIN, revents: 0 },
            ];
            libc::poll(ready.as_mut_ptr(), 2, if program < 0 { 100 } else { -1 });
            ended = reap(child);
            if ready[0].revents != 0 {
                break;
            }
        }
        // Children of children become ours as their parents die.
        loop {
            let some = kill_children();
            if let Some(status) = reap(child) {
                ended = Some(status);
            }
            if !some {
                break;
            }
            libc::poll(ptr::null_mut(), 0, 1);
        }
        ended.unwrap_or(libc::SIGKILL)
    }
}

/// Collects children that have ended; tells how `child` did.
unsafe fn reap(child: libc::pid_t) -> Option<c_int> {
    let mut found = None;
    // SAFETY: the status lies on the stack.
    unsafe {
        loop {
            let mut status = 0;
            let pid = libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL);
            if pid == child {
                found = Some(status);
            }
            if pid <= 0 {
                return found;
            }
        }
    }
}

/// Kills all children; tells whether there are some.
unsafe fn kill_children() -> bool {
    let mut text = [0_u8; 4096];
    // SAFETY: the path is terminated, the buffer on the stack.
    let length = unsafe {
        let path = c"/proc/thread-self/children".as_ptr();
        let fd = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC);
        let length = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        length
    };
    let (mut pid, mut some) = (0_i32, false);
    for &byte in &text[..usize::try_from(length).unwrap_or(0)] {
        if byte.is_ascii_digit() {
            pid = pid.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
        } else if pid > 0 {
            some = true;
            // SAFETY: a child of ours that was not collected keeps its number.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            pid = 0;
        }
    }
    some
}

unsafe fn tell(step: i32, value: i32) {
    let message = Message { step, value };
    // SAFETY: eight bytes on the stack. Who does not listen has died.
    let _ = unsafe { libc::write(REPORT, (&raw const message).cast(), size_of::<Message>()) };
}

unsafe fn fail(step: i32, errno: c_int) -> ! {
    // SAFETY: as `tell`.
    unsafe {
        tell(step, errno);
        libc::_exit(127)
    }
}

fn last() -> c_int {
    // SAFETY: the address of this thread's number.
    unsafe { *libc::__errno_location() }
}
