//! Accesses to mapped registers: `SIGBUS` stops the thread, the access is done for it, and it goes on.

// UNSAFETY: ptrace takes addresses of structures, and waitpid of a number.
#![expect(unsafe_code, reason = "no library traces")]

use std::fs;
use std::mem::MaybeUninit;
use std::ptr;

use libc::{c_int, c_void, pid_t};
use vfio_uapi::Errno;

use crate::errno;
use crate::instruction::{Bus, State, decode};

/// What the C library takes a request for.
#[cfg(target_env = "musl")]
type Request = c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

const BUS_ADRERR: c_int = 2;
const LONGEST: usize = 15;
const EVENT_STOP: c_int = 128;

/// Memory of devices that programs map.
pub trait Registers: Send {
    /// Reads from the file with that inode number.
    ///
    /// # Errors
    /// Whatever: the program gets its `SIGBUS`.
    fn read(&self, inode: u64, offset: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// Writes to the file with that inode number.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn write(&self, inode: u64, offset: u64, from: &[u8]) -> Result<(), Errno>;
}

/// Follows a program and its children.
pub(crate) struct Tracer {
    /// Device number of the machine's file system, as lists of mappings have it.
    device: String,
    registers: Box<dyn Registers>,
}

impl Tracer {
    pub(crate) fn new(device: u64, registers: Box<dyn Registers>) -> Self {
        let device = format!("{:02x}:{:02x}", libc::major(device), libc::minor(device));
        Self { device, registers }
    }

    /// Begins to follow a process. When this thread ends before it, it is killed.
    ///
    /// # Errors
    /// `EPERM` this process may not, or another follows it.
    pub(crate) fn seize(&self, pid: pid_t) -> Result<(), Errno> {
        let options = libc::PTRACE_O_EXITKILL
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACEEXIT;
        request(libc::PTRACE_SEIZE, pid, options as usize)
    }

    /// Follows until the child `guard` of this thread ends.
    pub(crate) fn follow(&self, guard: pid_t) {
        loop {
            let mut status = 0;
            let flags = libc::__WALL | libc::__WNOTHREAD;
            // SAFETY: the status lies on the stack.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
            if pid < 0 && errno::last() != Errno::EINTR {
                return;
            }
            if pid > 0 && libc::WIFSTOPPED(status) {
                self.stopped(pid, status);
            } else if pid == guard {
                return;
            }
        }
    }

    /// A thread that has died meanwhile refuses all requests with ESRCH, and that is that.
    fn stopped(&self, thread: pid_t, status: c_int) {
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let _ = match event {
            libc::PTRACE_EVENT_EXIT => request(libc::PTRACE_DETACH, thread, 0),
            EVENT_STOP if matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                request(libc::PTRACE_LISTEN, thread, 0)
            }
            0 if signal == libc::SIGBUS && self.access(thread).is_some() => {
                request(libc::PTRACE_CONT, thread, 0)
            }
            0 => request(libc::PTRACE_CONT, thread, signal as usize),
            _ => request(libc::PTRACE_CONT, thread, 0),
        };
    }

    /// Does the access that a thread stopped at; `None`: it is none of ours.
    fn access(&self, thread: pid_t) -> Option<()> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        into(libc::PTRACE_GETSIGINFO, thread, info.as_mut_ptr().cast())?;
        // SAFETY: the system has filled it, and zeroes are one, too.
        let info = unsafe { info.assume_init() };
        if info.si_code != BUS_ADRERR {
            return None;
        }
        // SAFETY: a SIGBUS has an address.
        let address = unsafe { info.si_addr() }.addr() as u64;
        let maps = fs::read_to_string(format!("/proc/{thread}/maps")).ok()?;
        let mut bus = ProgramBus { tracer: self, thread, areas: self.areas(&maps) };
        bus.device(address, 1)?;

        let mut general = MaybeUninit::<libc::user_regs_struct>::zeroed();
        let mut vectors = MaybeUninit::<libc::user_fpregs_struct>::zeroed();
        into(libc::PTRACE_GETREGS, thread, general.as_mut_ptr().cast())?;
        into(libc::PTRACE_GETFPREGS, thread, vectors.as_mut_ptr().cast())?;
        // SAFETY: the system has filled both, and zeroes are such structures, too.
        let (mut general, mut vectors) = unsafe { (general.assume_init(), vectors.assume_init()) };
        let mut code = [0; LONGEST];
        let length = (1..=LONGEST).rev().find(|&length| peek(thread, general.rip, &mut code[..length]))?;
        let instruction = decode(&code[..length])?;
        let before = state_of(&general, &vectors);
        let mut state = before.clone();
        // A repetition that stopped in the middle goes on when the thread does, or faults again.
        let done = instruction.execute(&mut state, address, &mut bus);
        if done.is_none() && state == before {
            return None;
        }
        put_state(&state, &mut general, &mut vectors);
        into(libc::PTRACE_SETREGS, thread, (&raw mut general).cast())?;
        if state.vectors != before.vectors {
            into(libc::PTRACE_SETFPREGS, thread, (&raw mut vectors).cast())?;
        }
        Some(())
    }

    /// Mappings of the machine's files.
    fn areas(&self, maps: &str) -> Vec<Area> {
        let area = |line: &str| {
            let mut parts = line.split_ascii_whitespace();
            let (start, end) = parts.next()?.split_once('-')?;
            let (rights, offset, device) = (parts.next()?, parts.next()?, parts.next()?);
            let hex = |text| u64::from_str_radix(text, 16).ok();
            (device == self.device).then_some(Area {
                start: hex(start)?,
                end: hex(end)?,
                readable: rights.starts_with('r'),
                writable: rights.get(1..2) == Some("w"),
                offset: hex(offset)?,
                inode: parts.next()?.parse().ok()?,
            })
        };
        maps.lines().filter_map(area).collect()
    }
}

struct Area {
    start: u64,
    end: u64,
    readable: bool,
    writable: bool,
    offset: u64,
    inode: u64,
}

/// Memory as the thread sees it.
struct ProgramBus<'a> {
    tracer: &'a Tracer,
    thread: pid_t,
    areas: Vec<Area>,
}

impl ProgramBus<'_> {
    fn device(&self, address: u64, length: usize) -> Option<&Area> {
        self.areas.iter().find(|area| area.start <= address && address + length as u64 <= area.end)
    }
}

impl Bus for ProgramBus<'_> {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Option<()> {
        match self.device(address, into.len()) {
            Some(area) if !area.readable => None,
            Some(area) => {
                self.tracer.registers.read(area.inode, area.offset + (address - area.start), into).ok()
            }
            None => peek(self.thread, address, into).then_some(()),
        }
    }

    fn write(&mut self, address: u64, from: &[u8]) -> Option<()> {
        match self.device(address, from.len()) {
            Some(area) if !area.writable => None,
            Some(area) => {
                self.tracer.registers.write(area.inode, area.offset + (address - area.start), from).ok()
            }
            None => poke(self.thread, address, from).then_some(()),
        }
    }
}

fn state_of(general: &libc::user_regs_struct, vectors: &libc::user_fpregs_struct) -> State {
    let r = general;
    let mut state = State {
        general: [
            r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
            r.r14, r.r15,
        ],
        instruction: r.rip,
        flags: r.eflags,
        ..State::default()
    };
    for (bytes, words) in state.vectors.iter_mut().zip(vectors.xmm_space.chunks_exact(4)) {
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    state
}

fn put_state(state: &State, general: &mut libc::user_regs_struct, vectors: &mut libc::user_fpregs_struct) {
    let r = general;
    [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
        r.r14, r.r15,
    ] = state.general;
    r.rip = state.instruction;
    r.eflags = state.flags;
    // What the call before was does not matter any more: no system call is to be started again.
    r.orig_rax = u64::MAX;
    for (bytes, words) in state.vectors.iter().zip(vectors.xmm_space.chunks_exact_mut(4)) {
        for (from, word) in bytes.chunks_exact(4).zip(words) {
            *word = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
        }
    }
}

fn peek(thread: pid_t, address: u64, into: &mut [u8]) -> bool {
    let there = ptr::without_provenance_mut::<c_void>(address as usize);
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: there, iov_len: into.len() };
    // SAFETY: the local vector is a slice that is exclusive to us; the remote one is checked by the system.
    let done = unsafe { libc::process_vm_readv(thread, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).is_ok_and(|done| done == into.len())
}

fn poke(thread: pid_t, address: u64, from: &[u8]) -> bool {
    let there = ptr::without_provenance_mut::<c_void>(address as usize);
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = libc::iovec { iov_base: there, iov_len: from.len() };
    // SAFETY: the local vector is only read; the remote one is checked by the system.
    let done = unsafe { libc::process_vm_writev(thread, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).is_ok_and(|done| done == from.len())
}

/// A request with a number.
fn request(request: Request, thread: pid_t, data: usize) -> Result<(), Errno> {
    let data = ptr::without_provenance_mut::<c_void>(data);
    // SAFETY: these requests take numbers.
    let done = unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), data) };
    if done < 0 { Err(errno::last()) } else { Ok(()) }
}

/// A request with a structure.
fn into(request: Request, thread: pid_t, structure: *mut c_void) -> Option<()> {
    // SAFETY: the caller gives the structure that belongs to the request.
    let done = unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), structure) };
    (done >= 0).then_some(())
}
