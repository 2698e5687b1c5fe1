//! Descriptors that may come with a message, and memory that tells whether it was touched.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::{pread, pwrite};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::pipe;

use crate::chance::Chance;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const PAGES: u64 = 16;
const CANARY: u8 = 0xa5;

/// A file to lend, every byte of it known.
pub(crate) struct Lent {
    pub(crate) fd: OwnedFd,
    /// Pages that may have been written.
    writable: u64,
    cut: bool,
}

impl Lent {
    pub(crate) fn new() -> Self {
        let fd = memfd_create("lent", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
        let bytes = vec![CANARY; (PAGES * PAGE) as usize];
        assert_eq!(pwrite(&fd, &bytes, 0), Ok(bytes.len()), "room for it");
        Self { fd, writable: 0, cut: false }
    }

    /// These bytes may be written from now on.
    pub(crate) fn lend(&mut self, offset: u64, size: u64) {
        let end = offset.saturating_add(size).div_ceil(PAGE).min(PAGES);
        for page in (offset / PAGE).min(PAGES)..end {
            self.writable |= 1 << page;
        }
    }

    pub(crate) fn lend_all(&mut self) {
        self.writable = u64::MAX;
    }

    /// Takes the pages away while they may be in use.
    pub(crate) fn cut(&mut self, chance: &mut Chance) {
        self.cut |= ftruncate(&self.fd, chance.pick(&[0, 1, PAGE, 5 * PAGE + 7])).is_ok();
    }

    pub(crate) fn seal(&self, chance: &mut Chance) {
        let seals =
            [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE, SealFlags::FUTURE_WRITE, SealFlags::SEAL];
        // Refused where it is mapped for writing, or sealed already.
        let _ = fcntl_add_seals(&self.fd, chance.pick(&seals));
    }

    /// Whether everything that was not lent for writing is what it was.
    pub(crate) fn is_whole(&self) -> bool {
        self.cut || (0..PAGES).all(|page| self.writable & (1 << page) != 0 || !self.changed(page))
    }

    /// Pages that were written.
    pub(crate) fn written(&self) -> u64 {
        (0..PAGES).filter(|page| !self.cut && self.changed(*page)).count() as u64
    }

    fn changed(&self, page: u64) -> bool {
        let mut bytes = [0; PAGE as usize];
        pread(&self.fd, &mut bytes[..], page * PAGE) != Ok(bytes.len())
            || bytes.iter().any(|it| *it != CANARY)
    }
}

/// Things that are not memory.
pub(crate) struct Oddities(Vec<OwnedFd>);

impl Oddities {
    pub(crate) fn new() -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("two sockets");
        let full = eventfd(u32::MAX, EventfdFlags::NONBLOCK).expect("an eventfd");
        let _ = rustix::io::write(&full, &(u64::MAX - 1 - u64::from(u32::MAX)).to_ne_bytes());
        let path = |path, flags| open(path, flags | OFlags::CLOEXEC, Mode::empty()).expect("it is there");
        let empty = memfd_create("empty", MemfdFlags::CLOEXEC).expect("a memfd");
        let program = File::open("/proc/self/exe").expect("it is there");
        let events = (0..4).map(|_| eventfd(0, EventfdFlags::empty()).expect("an eventfd"));
        let mut all = vec![reader, writer, one, other, full, empty, program.into()];
        all.push(path("/", OFlags::DIRECTORY));
        all.push(path("/dev/null", OFlags::RDWR));
        all.push(path("/dev/zero", OFlags::RDWR));
        all.push(path("/proc/self/status", OFlags::RDONLY));
        all.extend(events);
        Self(all)
    }

    /// Any of them.
    pub(crate) fn any(&self, chance: &mut Chance) -> BorrowedFd<'_> {
        self.0[chance.below(self.0.len())].as_fd()
    }

    /// An event counter: one of the last, which are plain ones.
    pub(crate) fn event(&self, chance: &mut Chance) -> BorrowedFd<'_> {
        self.0[self.0.len() - 1 - chance.below(4)].as_fd()
    }
}
