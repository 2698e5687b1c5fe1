//! A mounted file system: its thread, its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{self, Errno as Refusal};
use vfio_uapi::Errno;

use crate::abi::{MAJOR, MAX_WRITE, MINOR, OLDEST_MINOR, init, opcode};
use crate::backing;
use crate::channel::Channel;
use crate::decode::Message;
use crate::errno::errno;
use crate::herald::{Change, Herald, Job};
use crate::mount::{MountError, MountOptions, Mounted, Target, connect};
use crate::notify::Notifier;
use crate::operation::Operation;
use crate::request::{Header, Request};

/// How long the kernel may take over its first request, which it makes when something is mounted.
const GREETING: Duration = Duration::from_secs(30);

/// What answers requests. All of it runs on the thread of the session, one call after the other; what takes its time hands
/// the request to somebody else.
pub trait FileSystem: Send + Sync + 'static {
    /// Answers a request, now or later.
    fn request(&self, request: Request);

    /// The kernel has forgotten a node as often as it was told of it by entries.
    fn forget(&self, _node: u64, _lookups: u64) {}

    /// The caller of a request has got a signal. The request still wants an answer: `EINTR` where it was given up.
    fn interrupt(&self, _id: u64) {}

    /// The file system is no longer mounted; no request comes any more. Nothing where it was closed or unmounted, else why.
    fn ended(&self, _reason: Option<Errno>) {}
}

/// One mounted file system. Dropping it takes it away.
pub struct Session {
    shared: Arc<Shared>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    channel: Arc<Channel>,
    files: Arc<dyn FileSystem>,
    passthrough: bool,
    /// Nothing reaches the file system any more.
    closing: AtomicBool,
    /// The mount has been taken away: the thread may end.
    quit: OwnedFd,
    mounted: Mutex<Option<Mounted>>,
    /// Hears that the protocol has been agreed on.
    greeted: Mutex<Option<SyncSender<()>>>,
    herald: Mutex<Option<Herald>>,
    /// Thread of the herald; 0: there is none.
    herald_tid: Arc<AtomicU32>,
}

impl Session {
    /// Mounts a file system and serves it from now on. Finding the directory may need the answers of other sessions: a thread
    /// that gives those must not call this.
    ///
    /// # Errors
    /// The step and its errno: `ENOENT`, `ENODEV` no FUSE in this kernel; `EACCES`, `EPERM` no right to mount; those of
    /// finding the directory; `EMFILE`, `EAGAIN` no room for a descriptor or a thread; `ENOTCONN` it was unmounted at once.
    pub fn mount(
        target: &Target,
        options: &MountOptions,
        files: Arc<dyn FileSystem>,
    ) -> Result<Self, MountError> {
        let failed = |errno| MountError { step: "starting to serve", errno };
        let quit = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(errno(error)))?;
        let (fuse, mounted) = connect(target, options)?;
        let (greeted, greeting) = sync_channel(1);
        let shared = Arc::new(Shared {
            channel: Arc::new(Channel::new(fuse)),
            files,
            passthrough: options.passthrough,
            closing: AtomicBool::new(false),
            quit,
            mounted: Mutex::new(Some(mounted)),
            greeted: Mutex::new(Some(greeted)),
            herald: Mutex::default(),
            herald_tid: Arc::default(),
        });
        let served = shared.clone();
        match thread::Builder::new().name("vfio-fuse".into()).spawn(move || served.serve()) {
            Ok(serving) => {
                // Before that the kernel takes no backing files.
                let session = Self { shared, serving: Mutex::new(Some(serving)) };
                greeting.recv_timeout(GREETING).map_err(|_| failed(Errno::ENOTCONN))?;
                Ok(session)
            }
            Err(_) => {
                shared.channel.shut();
                shared.take_away();
                Err(failed(Errno::EAGAIN))
            }
        }
    }

    /// Lends the mount of [`Target::Detached`].
    ///
    /// # Errors
    /// `EINVAL` it is mounted at a directory, `EBADF` the session was closed.
    pub fn mount_fd(&self) -> Result<OwnedFd, Errno> {
        let mounted = self.shared.mounted.lock();
        let fd = mounted.as_ref().ok_or(Errno::EBADF)?.fd().ok_or(Errno::EINVAL)?;
        fd.try_clone().map_err(|_| Errno::EMFILE)
    }

    /// Gives what tells the kernel of changes.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier(self.shared.channel.clone())
    }

    /// Has the kernel told of a change on a thread of its own, after what was given to that thread before.
    pub fn tell(&self, tell: impl FnOnce(&Notifier) + Send + 'static) {
        self.give(Job::Tell(Box::new(tell)));
    }

    /// Tells those who watch (`inotify`) of a change at `path`, relative to the root, that has happened. The session's own thread
    /// makes or removes there what the file system has made or removed already; see [`Request::is_own`]. Nobody is told where
    /// this process may not write to the directory.
    pub fn announce(&self, change: Change, path: PathBuf) {
        self.give(Job::Announce(change, path));
    }

    fn give(&self, job: Job) {
        let shared = &self.shared;
        let mut herald = shared.herald.lock();
        if herald.is_none() && !shared.is_closing() {
            let root = shared.mounted.lock().as_ref().and_then(|mounted| mounted.root().ok());
            let start = |root| Herald::start(root, self.notifier(), shared.herald_tid.clone()).ok();
            *herald = root.and_then(start);
        }
        if let Some(herald) = &*herald {
            herald.give(job);
        }
    }

    /// Registers a file to stand behind mappings of ours (`FUSE_DEV_IOC_BACKING_OPEN`).
    ///
    /// # Errors
    /// `ENOTCONN` the session has ended; `EPERM` without `CAP_SYS_ADMIN` or [`passthrough`](MountOptions::passthrough); `EBADF`;
    /// `EOPNOTSUPP` the file cannot be mapped; `ELOOP` it lies on a stacked file system; `ENOTTY` a kernel before 6.9.
    pub fn open_backing(&self, file: BorrowedFd<'_>) -> Result<i32, Errno> {
        backing::open(self.shared.channel.fd()?.as_fd(), file)
    }

    /// Forgets such a file; what is open or mapped stays.
    ///
    /// # Errors
    /// `ENOTCONN` the session has ended, `EPERM`, `ENOENT` no such.
    pub fn close_backing(&self, id: i32) -> Result<(), Errno> {
        backing::close(self.shared.channel.fd()?.as_fd(), id)
    }

    /// Begins to close: from now on every request is answered `ENODEV` here. [`FileSystem::ended`] tells of the end.
    ///
    /// The mount is taken away by a thread of its own: finding its directory may need answers of this thread or the caller's.
    pub fn begin_close(&self) {
        if self.shared.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        drop(self.shared.herald.lock().take());
        let ended = self.shared.clone();
        let end = move || {
            ended.take_away();
            let _ = io::write(&ended.quit, &1_u64.to_ne_bytes());
        };
        if thread::Builder::new().name("vfio-fuse-end".into()).spawn(end).is_err() {
            // No room for a thread: the guard takes the dead mount away as soon as it is let go of.
            let _ = io::write(&self.shared.quit, &1_u64.to_ne_bytes());
        }
    }

    /// Closes and waits for the end: the mount is gone, what was open is dead.
    pub fn close(&self) {
        self.begin_close();
        let serving = self.serving.lock().take();
        // The file system may let go of its own session.
        if let Some(serving) = serving
            && serving.thread().id() != thread::current().id()
        {
            let _ = serving.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.begin_close();
    }
}

impl Shared {
    fn take_away(&self) {
        let mounted = self.mounted.lock().take();
        if let Some(mounted) = mounted {
            mounted.take_away();
        }
    }

    /// Takes requests until there are no more.
    fn serve(&self) {
        let reason = match self.channel.fd() {
            Ok(fuse) => self.take_requests(&fuse),
            Err(errno) => Some(errno),
        };
        // From here on nobody waits for an answer; then the mount may go, if it has not.
        self.closing.store(true, Ordering::Release);
        drop(self.greeted.lock().take());
        self.channel.shut();
        self.take_away();
        drop(self.herald.lock().take());
        self.files.ended(reason);
    }

    fn take_requests(&self, fuse: &OwnedFd) -> Option<Errno> {
        let mut buffer = vec![0; MAX_WRITE + 4096];
        loop {
            match io::read(fuse, &mut *buffer) {
                Ok(length) => self.dispatch(buffer.get(..length).unwrap_or_default()),
                // ENOENT: whoever asked has given up.
                Err(Refusal::INTR | Refusal::NOENT) => {}
                Err(Refusal::AGAIN) => {
                    let mut ready =
                        [PollFd::new(fuse, PollFlags::IN), PollFd::new(&self.quit, PollFlags::IN)];
                    let polled = poll(&mut ready, None);
                    if polled.is_ok() && ready[1].revents().contains(PollFlags::IN) {
                        return None;
                    }
                }
                // Unmounted.
                Err(Refusal::NODEV) => return None,
                Err(error) => return Some(errno(error)),
            }
        }
    }

    fn dispatch(&self, message: &[u8]) {
        let Some((header, body)) = Header::decode(message) else { return };
        match header.opcode {
            opcode::INIT => self.greet(&header, body),
            opcode::DESTROY => drop(self.channel.answer(header.unique, 0, [&[], &[]])),
            opcode::FORGET => {
                if let Some(lookups) = Message::new(body).u64() {
                    self.forget(header.node, lookups);
                }
            }
            opcode::BATCH_FORGET => drop(self.forget_batch(body)),
            opcode::INTERRUPT => {
                if let (Some(id), false) = (Message::new(body).u64(), self.is_closing()) {
                    self.files.interrupt(id);
                }
            }
            code => match Operation::decode(code, body) {
                None => self.refuse(&header, Errno::EINVAL),
                Some(_) if self.is_closing() => self.refuse(&header, Errno::ENODEV),
                Some(operation) => {
                    let tid = self.herald_tid.load(Ordering::Acquire);
                    let is_own = tid != 0 && header.caller.tid == tid;
                    self.files.request(Request::new(self.channel.clone(), &header, operation, is_own));
                }
            },
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn refuse(&self, header: &Header, errno: Errno) {
        let _ = self.channel.answer(header.unique, -errno.code(), [&[], &[]]);
    }

    fn forget(&self, node: u64, lookups: u64) {
        if !self.is_closing() {
            self.files.forget(node, lookups);
        }
    }

    fn forget_batch(&self, body: &[u8]) -> Option<()> {
        let mut body = Message::new(body);
        let (count, _) = (body.u32()?, body.u32()?);
        for _ in 0..count {
            let (node, lookups) = (body.u64()?, body.u64()?);
            self.forget(node, lookups);
        }
        Some(())
    }

    /// Agrees on the protocol (`FUSE_INIT`).
    fn greet(&self, header: &Header, body: &[u8]) {
        let mut body = Message::new(body);
        let (Some(major), Some(minor), Some(readahead), Some(low)) =
            (body.u32(), body.u32(), body.u32(), body.u32())
        else {
            return self.refuse(header, Errno::EPROTO);
        };
        if major != MAJOR || minor < OLDEST_MINOR {
            return self.refuse(header, Errno::EPROTO);
        }
        let offered = u64::from(low) | u64::from(body.u32().unwrap_or(0)) << 32;
        let mut wanted = init::ASYNC_READ
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::PARALLEL_DIROPS
            | init::MAX_PAGES
            | init::INIT_EXT;
        if self.passthrough {
            wanted |= init::DIRECT_IO_ALLOW_MMAP | init::PASSTHROUGH;
        }
        let agreed = offered & wanted;
        let pages = (MAX_WRITE / 4096) as u16;
        let mut out = Vec::with_capacity(64);
        for number in [MAJOR, MINOR.min(minor), readahead, agreed as u32] {
            out.extend(number.to_ne_bytes());
        }
        out.extend([64_u16.to_ne_bytes(), 48_u16.to_ne_bytes()].concat()); // requests in the background, and when to slow down
        out.extend([MAX_WRITE as u32, 1].map(u32::to_ne_bytes).concat()); // longest write, granularity of times
        out.extend([pages, 0].map(u16::to_ne_bytes).concat());
        let depth = u32::from(agreed & init::PASSTHROUGH != 0);
        out.extend([(agreed >> 32) as u32, depth].map(u32::to_ne_bytes).concat());
        out.resize(64, 0);
        let _ = self.channel.answer(header.unique, 0, [&out, &[]]);
        if let Some(greeted) = self.greeted.lock().take() {
            let _ = greeted.send(());
        }
    }
}
