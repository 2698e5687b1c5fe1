//! A hostile client of our server.

use std::io::{ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vfio_wire::message::{Command, DmaMap, HEADER_SIZE, Header, Kind, RegionAccess};

use crate::bodies;
use crate::chance::Chance;
use crate::objects::{Lent, Oddities};

/// Most descriptors that one call sends here; more than the server takes.
const MOST_FDS: usize = 20;
/// How long a server that takes no more is waited for.
const SHORT: Duration = Duration::from_millis(20);

/// Pages that devices wrote, in all runs.
pub(crate) static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// What one run says, and what came of it.
pub(crate) struct HostileClient<'a> {
    chance: Chance,
    oddities: &'a Oddities,
    stream: UnixStream,
    received: Vec<u8>,
    lent: Vec<Lent>,
    next: u16,
    /// Where memory was lent, rightly or not.
    places: Vec<u64>,
    gone: bool,
    /// How often the server broke the protocol.
    nonsense: Vec<String>,
}

impl<'a> HostileClient<'a> {
    /// Plays one run; the complaints.
    pub(crate) fn play(seed: u64, path: &Path, oddities: &'a Oddities) -> Vec<String> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) => return vec![format!("no connection: {error}")],
        };
        stream.set_nonblocking(true).expect("a socket");
        let mut chance = Chance::new(seed);
        let lent = (0..=chance.below(2)).map(|_| Lent::new()).collect();
        let (received, nonsense, places) = (Vec::new(), Vec::new(), Vec::new());
        let mut client =
            Self { chance, oddities, stream, received, lent, next: 0, places, gone: false, nonsense };
        client.introduce();
        for _ in 0..client.chance.below(64) {
            if client.gone {
                break;
            }
            client.step();
            client.listen();
        }
        if client.chance.one_in(3) {
            let _ = client.stream.shutdown(std::net::Shutdown::Write);
            client.listen();
        }
        drop(client.stream);
        WRITTEN.fetch_add(client.lent.iter().map(Lent::written).sum(), Ordering::Relaxed);
        if !client.lent.iter().all(Lent::is_whole) {
            client.nonsense.push("memory was written that was not lent for writing".into());
        }
        client.nonsense
    }

    fn introduce(&mut self) {
        let chance = &mut self.chance;
        let mut body = match chance.below(24) {
            0 => return,
            1 => chance.bytes(64),
            2 => [&[0, 0, 1, 0], "[".repeat(chance.below(4000)).as_bytes(), &[0]].concat(),
            3 => [&[0, 0, 0, 0][..], br#"{"capabilities":{"max_msg_fds":1e99,"pgsizes":-4096}}"#, &[0]]
                .concat(),
            4..8 => {
                [&[0, 0, 1, 0][..], br#"{"capabilities":{"max_msg_fds":16,"write_multiple":true}}"#, &[0]]
                    .concat()
            }
            _ => vec![0, 0, 0, 0],
        };
        if chance.one_in(16) {
            chance.spoil(&mut body);
        }
        self.send(Command::Version as u16, Kind::Request { no_reply: false }, &body);
    }

    fn step(&mut self) {
        match self.chance.below(96) {
            0 => {
                let at = self.chance.below(self.lent.len());
                self.lent[at].cut(&mut self.chance);
            }
            1 => {
                let at = self.chance.below(self.lent.len());
                self.lent[at].seal(&mut self.chance);
            }
            2 => {
                let bytes = self.chance.bytes(200);
                self.write(&bytes, &[]);
            }
            3 => {
                // A reply that nobody asked for, or to somebody else.
                let command = self.chance.pick(&[Command::DmaRead, Command::DmaWrite, Command::RegionRead]);
                let body = self.chance.bytes(40);
                self.send(command as u16, Kind::Reply { error: None }, &body);
            }
            4 => {
                let command = self.chance.next() as u16;
                let body = self.chance.bytes(80);
                self.send(command, Kind::Request { no_reply: false }, &body);
            }
            5..25 if !self.places.is_empty() => self.start_dma(),
            _ => self.request(),
        }
    }

    /// Has the device read and write memory that was lent, or what lies beside it.
    fn start_dma(&mut self) {
        let place = self.chance.pick(&self.places);
        let near = self.chance.pick(&[0, 8, 0xffc, 0xffe, 0x1008, 0x2008, 0x3ffe, 8_u64.wrapping_neg()]);
        let mut body = Vec::new();
        RegionAccess { offset: 0, region: 0, count: 8 }.write(&mut body);
        body.extend(place.wrapping_add(near).to_le_bytes());
        let no_reply = self.chance.one_in(2);
        self.send(Command::RegionWrite as u16, Kind::Request { no_reply }, &body);
    }

    fn request(&mut self) {
        let command = self.chance.pick(&bodies::COMMANDS);
        let (mut body, lends) = bodies::body(&mut self.chance, command);
        let spoilt = self.chance.one_in(10);
        if spoilt {
            self.chance.spoil(&mut body);
        }
        let fds = match command {
            Command::DmaMap => self.chance.pick(&[1, 1, 1, 1, 0, 0, 2]),
            Command::DeviceSetIrqs => self.chance.pick(&[0, 1, 2, 4, 5, 16, 17]),
            _ if self.chance.one_in(16) => self.chance.below(MOST_FDS),
            _ => 0,
        };
        if let (Command::DmaMap, Some(map)) = (command, DmaMap::read(&body)) {
            self.places.push(map.iova);
        }
        let file = self.chance.below(self.lent.len());
        if command == Command::DmaMap && fds > 0 {
            match lends {
                _ if spoilt => self.lent[file].lend_all(),
                Some((offset, size)) => self.lent[file].lend(offset, size),
                None => {}
            }
        }
        let no_reply = self.chance.one_in(4);
        self.send_with(command as u16, Kind::Request { no_reply }, &body, (fds, file));
    }

    fn send(&mut self, command: u16, kind: Kind, body: &[u8]) {
        self.send_with(command, kind, body, (0, 0));
    }

    /// Sends a message, in one piece or in several, its header right or not.
    fn send_with(&mut self, command: u16, kind: Kind, body: &[u8], (fds, file): (usize, usize)) {
        let id = if self.chance.one_in(8) { self.chance.next() as u16 } else { self.next };
        self.next = self.next.wrapping_add(1);
        let mut message = Header::message(id, command, kind, body);
        if self.chance.one_in(96) {
            let size =
                self.chance.pick(&[0, 15, 16, message.len() as u32 + 1, 1 << 16, 1 << 20, 1 << 31, u32::MAX]);
            message[4..8].copy_from_slice(&size.to_ne_bytes());
        }
        if self.chance.one_in(96) {
            message[8] = self.chance.next() as u8;
        }
        let mut with: Vec<BorrowedFd<'_>> = Vec::new();
        for _ in 0..fds {
            with.push(match command {
                _ if self.chance.one_in(6) => self.oddities.any(&mut self.chance),
                _ if command == Command::DeviceSetIrqs as u16 => self.oddities.event(&mut self.chance),
                _ => self.lent[file].fd.as_fd(),
            });
        }
        let mut at = 0;
        while at < message.len() {
            let piece = match self.chance.below(12) {
                0 => 1 + self.chance.below(message.len() - at),
                1 => 1,
                _ => message.len() - at,
            };
            let sent = write_some(&self.stream, &message[at..at + piece], if at == 0 { &with } else { &[] });
            if !sent {
                self.gone = true;
                return;
            }
            at += piece;
            // Now and then the rest never comes.
            if at < message.len() && self.chance.one_in(64) {
                self.gone = true;
                return;
            }
        }
    }

    fn write(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        self.gone |= !write_some(&self.stream, bytes, fds);
    }

    /// Takes what the server says, and serves its requests, or not.
    fn listen(&mut self) {
        if self.chance.one_in(4) {
            std::thread::sleep(Duration::from_micros(self.chance.index(300)));
        }
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    self.gone = true;
                    break;
                }
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        while let Some(message) = self.take() {
            let head = message.first_chunk::<HEADER_SIZE>().expect("a whole message");
            let Some(header) = Header::read(head) else {
                return self.nonsense.push("a header that means nothing".into());
            };
            if let Kind::Request { .. } = header.kind {
                self.serve(header, &message[HEADER_SIZE..]);
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let size = self.received.get(4..8)?;
        let size = u32::from_ne_bytes(size.try_into().expect("four bytes")) as usize;
        if !(HEADER_SIZE..=2 << 20).contains(&size) {
            self.nonsense.push(format!("a message of {size} bytes"));
            self.received.clear();
            self.gone = true;
            return None;
        }
        if self.received.len() < size {
            return None;
        }
        let rest = self.received.split_off(size);
        Some(std::mem::replace(&mut self.received, rest))
    }

    fn serve(&mut self, asked: Header, body: &[u8]) {
        let read = asked.command == Command::DmaRead as u16;
        let mut answer = bodies::copied(body, read);
        let kind = match self.chance.below(8) {
            0 => return,
            1 => Kind::Reply { error: Some(self.chance.pick(&[0, 14, u32::MAX])) },
            _ => Kind::Reply { error: None },
        };
        if self.chance.one_in(8) {
            self.chance.spoil(&mut answer);
        }
        let id = if self.chance.one_in(16) { self.chance.next() as u16 } else { asked.id };
        let message = Header::message(id, asked.command, kind, &answer);
        self.write(&message, &[]);
    }
}

/// Writes all of it, unless the server takes no more for a while, or has gone.
fn write_some(stream: &UnixStream, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> bool {
    let end = Instant::now() + SHORT;
    while !bytes.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        match sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => (bytes, fds) = (&bytes[count..], &[]),
            Err(rustix::io::Errno::AGAIN) if Instant::now() < end => std::thread::yield_now(),
            Err(_) => return false,
        }
    }
    true
}
