//! What the tests share: folders of their own, a device with memory and DMA, a client that says what it is told to.
#![expect(dead_code, reason = "each test uses a part")]

pub(crate) mod card;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use vfio_device::VfioDeviceOps;
use vfio_memory::Memory;
use vfio_wire::message::{Command, DmaCopy, DmaMap, DmaUnmap, Header, Kind, RegionAccess};
use vfio_wire::server::{Server, ServerEvent, ServerOptions};
use vfio_wire::socket::{Frame, Socket, SocketError};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A fresh folder, gone at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("vfio-wire-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A served device.
pub(crate) struct Served {
    pub(crate) server: Server,
    /// Clients that went.
    pub(crate) detached: Arc<AtomicUsize>,
    _folder: Folder,
}

impl Served {
    pub(crate) fn new(device: Arc<dyn VfioDeviceOps>, options: ServerOptions) -> Self {
        let folder = Folder::new();
        let detached = Arc::new(AtomicUsize::new(0));
        let count = detached.clone();
        let events = Arc::new(move |event| {
            if let ServerEvent::Detached { .. } = event {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let server = Server::start(device, &folder.socket(), options, events).expect("a server");
        Self { server, detached, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.server.path()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.join();
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A client that says what it is told to, and nothing else.
pub(crate) struct Raw {
    pub(crate) socket: Socket,
    next: u16,
}

impl Raw {
    /// Connects without a word.
    pub(crate) fn silent(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a connection");
        Self { socket: Socket::new(stream, 2 << 20, LONG), next: 0 }
    }

    /// Connects and introduces itself.
    pub(crate) fn introduced(path: &Path) -> Self {
        let mut client = Self::silent(path);
        let answer = client.ask(Command::Version, &[0, 0, 0, 0]).expect("a version");
        assert!(answer.len() > 4);
        client
    }

    /// Sends a request without waiting; gives its id.
    pub(crate) fn post(&mut self, command: Command, body: &[u8], fds: &[BorrowedFd<'_>]) -> u16 {
        self.next = self.next.wrapping_add(1);
        let kind = Kind::Request { no_reply: false };
        self.socket
            .send(&Header::message(self.next, command as u16, kind, body), fds)
            .expect("the server listens");
        self.next
    }

    pub(crate) fn receive(&mut self) -> Result<Frame, SocketError> {
        self.socket.receive_within(LONG)
    }

    /// Sends a request and waits for the next message, which must be its reply.
    pub(crate) fn ask(&mut self, command: Command, body: &[u8]) -> Result<Vec<u8>, u32> {
        self.ask_with(command, body, &[])
    }

    pub(crate) fn ask_with(
        &mut self,
        command: Command,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, u32> {
        let id = self.post(command, body, fds);
        let frame = self.receive().expect("a reply");
        reply_to(id, frame)
    }

    /// Answers a request of the server's.
    pub(crate) fn answer(&mut self, asked: &Frame, body: &[u8]) {
        let Header { id, command, .. } = asked.header;
        let reply = Header::message(id, command, Kind::Reply { error: None }, body);
        self.socket.send(&reply, &[]).expect("the server listens");
    }
}

/// What a reply says: its body, or the errno.
pub(crate) fn reply_to(id: u16, frame: Frame) -> Result<Vec<u8>, u32> {
    assert_eq!(frame.header.id, id, "a reply to another request");
    match frame.header.kind {
        Kind::Reply { error: None } => Ok(frame.body),
        Kind::Reply { error: Some(errno) } => Err(errno),
        Kind::Request { .. } => panic!("a request instead of the reply"),
    }
}

pub(crate) fn map_body(flags: u32, offset: u64, iova: u64, size: u64) -> Vec<u8> {
    let mut body = Vec::new();
    DmaMap { argsz: DmaMap::SIZE, flags, offset, iova, size }.write(&mut body);
    body
}

pub(crate) fn unmap_body(flags: u32, iova: u64, size: u64) -> Vec<u8> {
    let mut body = Vec::new();
    DmaUnmap { argsz: DmaUnmap::SIZE, flags, iova, size }.write(&mut body);
    body
}

pub(crate) fn read_body(region: u32, offset: u64, count: u32) -> Vec<u8> {
    let mut body = Vec::new();
    RegionAccess { offset, region, count }.write(&mut body);
    body
}

pub(crate) fn write_body(region: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut body = read_body(region, offset, data.len() as u32);
    body.extend_from_slice(data);
    body
}

/// The answer to `DMA_READ`: the same head, and zeros of so many bytes with `word` in front.
pub(crate) fn dma_read_reply(asked: &Frame, word: u32) -> Vec<u8> {
    let (head, _) = DmaCopy::read(&asked.body).expect("a head");
    let mut body = Vec::new();
    head.write(&mut body);
    body.resize(DmaCopy::SIZE + head.count as usize, 0);
    body[DmaCopy::SIZE..DmaCopy::SIZE + 4].copy_from_slice(&word.to_le_bytes());
    body
}

pub(crate) fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd")
}

/// The descriptor of a memory.
pub(crate) fn fd_of(memory: &Memory) -> BorrowedFd<'_> {
    memory.fd().expect("a memfd")
}
