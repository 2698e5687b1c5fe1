//! Clients that are slow, silent, or say more than they hear.
#![cfg(target_os = "linux")]

mod parts;

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use parts::card::Card;
use parts::{Raw, Served, fd_of, map_body, read_body, reply_to, until, write_body};
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{Completion, DeviceInfo, IrqInfo, IrqSet, RegionInfo};
use vfio_memory::Memory;
use vfio_uapi::Errno;
use vfio_wire::message::{Command, Header, Kind};
use vfio_wire::server::ServerOptions;

const ETIMEDOUT: u32 = 110;

fn impatient() -> ServerOptions {
    let patience = Duration::from_millis(200);
    ServerOptions { patience, answer_within: patience, ..ServerOptions::default() }
}

/// KiB that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Waits until the server has closed the connection.
fn is_closed(stream: &UnixStream) -> bool {
    let mut byte = [0; 4096];
    stream.set_nonblocking(true).expect("a socket");
    let end = Instant::now() + parts::LONG;
    loop {
        match std::io::Read::read(&mut &*stream, &mut byte) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn silence_and_half_a_message_are_waited_for_only_so_long() {
    let served = Served::new(Card::new(), impatient());
    let version = Header::message(1, 1, Kind::Request { no_reply: false }, &[0; 4]);
    for part in [&[][..], &version[..1], &version[..15], &version[..16], &version[..19]] {
        let mut stream = UnixStream::connect(served.path()).expect("a connection");
        stream.write_all(part).expect("the server listens");
        assert!(is_closed(&stream), "{} bytes", part.len());
    }
    // Once introduced a client may be silent for as long as it likes, but not within a message.
    let mut client = Raw::introduced(served.path());
    std::thread::sleep(Duration::from_millis(600));
    assert!(client.ask(Command::DeviceReset, &[]).is_ok());
    let half = Header::message(5, Command::RegionWrite as u16, Kind::Request { no_reply: false }, &[0; 4096]);
    client.socket.send(&half[..1000], &[]).expect("the server listens");
    assert!(client.receive().is_err());
    drop(Raw::introduced(served.path()));
}

#[test]
fn a_client_that_does_not_listen_is_given_up_and_costs_no_more_than_its_share() {
    let served = Served::new(Card::new(), impatient());
    let before = resident();
    for size in [4, 4096] {
        let client = Raw::introduced(served.path());
        let ask = Header::message(
            1,
            Command::RegionRead as u16,
            Kind::Request { no_reply: false },
            &read_body(1, 0, size),
        );
        let stream = UnixStream::from(client.socket.as_fd().try_clone_to_owned().expect("a descriptor"));
        stream.set_nonblocking(true).expect("a socket");
        let end = Instant::now() + parts::LONG;
        let mut told = 0_usize;
        // Until the server hangs up.
        loop {
            match (&stream).write(&ask) {
                Ok(_) => told += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Err(_) => break,
            }
            assert!(Instant::now() < end, "it goes on for ever");
        }
        assert!(told > 100);
    }
    assert!(resident() < before + (96 << 10), "{before} and {} KiB", resident());
    drop(Raw::introduced(served.path()));
}

/// Never answers, and keeps what it should have answered.
#[derive(Default)]
struct Mute(Mutex<Vec<Completion<Vec<u8>>>>);

impl VfioDeviceOps for Mute {
    fn name(&self) -> &str {
        "mute"
    }
    fn close_device(&self) {
        self.0.lock().clear();
    }
    fn info(&self) -> DeviceInfo {
        DeviceInfo { flags: 0, num_regions: 1, num_irqs: 0, capabilities: Vec::new() }
    }
    fn region_info(&self, _index: u32) -> Result<RegionInfo, Errno> {
        Ok(RegionInfo { flags: 3, size: 1 << 20, ..RegionInfo::default() })
    }
    fn irq_info(&self, _index: u32) -> Result<IrqInfo, Errno> {
        Err(Errno::EINVAL)
    }
    fn set_irqs(&self, _request: &IrqSet) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
    fn submit_read(&self, _region: u32, _offset: u64, _len: usize, done: Completion<Vec<u8>>) {
        self.0.lock().push(done);
    }
}

#[test]
fn a_device_that_never_answers_is_answered_for_and_not_asked_without_end() {
    let device = Arc::new(Mute::default());
    let served = Served::new(device.clone(), impatient());
    let mut client = Raw::introduced(served.path());
    let id = client.post(Command::RegionRead, &read_body(0, 0, 4), &[]);
    assert_eq!(reply_to(id, client.receive().expect("a reply")), Err(ETIMEDOUT));
    // A flood stops at the device's door.
    let ask = Header::message(
        1,
        Command::RegionRead as u16,
        Kind::Request { no_reply: true },
        &read_body(0, 0, 1 << 20),
    );
    let stream = UnixStream::from(client.socket.as_fd().try_clone_to_owned().expect("a descriptor"));
    stream.set_nonblocking(true).expect("a socket");
    let (mut refused, end) = (0, Instant::now() + parts::LONG);
    while refused < 100 {
        assert!(Instant::now() < end, "it is asked without end");
        match (&stream).write(&ask) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            other => assert!(other.is_ok()),
        }
    }
    let asked = device.0.lock().len();
    assert!((8..=256).contains(&asked), "{asked} requests at once");
    drop((client, stream));
    device.0.lock().clear();
    until("the end", || device.0.lock().is_empty());
}

#[test]
fn memory_that_a_client_lends_counts_only_once() {
    let card = Card::new();
    let served = Served::new(card.clone(), ServerOptions::default());
    let mut client = Raw::introduced(served.path());
    let before = std::fs::read_dir("/proc/self/fd").expect("there is /proc").count();
    let memory = Memory::memfd("lent", 64 << 12).expect("memory");
    // As a client behind a virtual IOMMU does, page by page; the descriptors are one.
    for page in 0..2000_u64 {
        let body = map_body(3, page % 64 * 4096, page * 8192, 4096);
        assert!(client.ask_with(Command::DmaMap, &body, &[fd_of(&memory)]).is_ok());
    }
    let now = std::fs::read_dir("/proc/self/fd").expect("there is /proc").count();
    // Tests beside this one have some of their own.
    assert!(now < before + 200, "{before} and {now} descriptors");
    // Different files are as many as a server keeps apart.
    let mut refused = None;
    for at in 0..600_u64 {
        let other = Memory::memfd("other", 4096).expect("memory");
        if let Err(errno) =
            client.ask_with(Command::DmaMap, &map_body(3, 0, (1 << 40) + at * 4096, 4096), &[fd_of(&other)])
        {
            refused = Some((at, errno));
            break;
        }
    }
    assert!(matches!(refused, Some((500.., 28))), "{refused:?}");
    assert!(client.ask(Command::RegionWrite, &write_body(0, 8, &[1])).is_ok());
}
