//! What thousands of clients leave behind: descriptors and memory are counted, so this is the only test of its process.
#![cfg(target_os = "linux")]

mod parts;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parts::card::Card;
use parts::{Raw, Served, event, fd_of, map_body, unmap_body, until, write_body};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vfio_memory::Memory;
use vfio_wire::message::{Command, Header, Kind, SetIrqsBody};
use vfio_wire::server::ServerOptions;

const IOVA: u64 = 0x10_0000;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("there is /proc").count()
}

/// KiB that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// A message with its descriptors.
type Said<'a> = (Vec<u8>, Vec<BorrowedFd<'a>>);

/// Says so many bytes of a conversation and goes.
fn say(served: &Served, words: &[Said<'_>], mut bytes: usize) {
    let stream = UnixStream::connect(served.path()).expect("a connection");
    for (message, fds) in words {
        let part = &message[..message.len().min(bytes)];
        if part.is_empty() {
            break;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        // A server that does not like what it hears hangs up.
        if sendmsg(&stream, &[IoSlice::new(part)], &mut control, SendFlags::NOSIGNAL).is_err() {
            break;
        }
        bytes -= part.len();
    }
}

#[test]
fn clients_leave_nothing_behind() {
    let card = Card::new();
    let options = ServerOptions { patience: Duration::from_secs(1), ..ServerOptions::default() };
    let served = Served::new(card.clone(), options);
    let memory = Memory::memfd("lent", 8192).expect("memory");
    let events = [event(), event()];
    let request = |id, command: Command, body: &[u8]| {
        Header::message(id, command as u16, Kind::Request { no_reply: false }, body)
    };
    let mut irqs = Vec::new();
    SetIrqsBody { argsz: SetIrqsBody::SIZE, flags: 0x24, index: 0, start: 0, count: 2 }.write(&mut irqs);
    let none = Vec::new;
    let words: Vec<Said<'_>> = vec![
        (request(1, Command::Version, b"\0\0\x01\0{\"capabilities\":{\"max_msg_fds\":16}}\0"), none()),
        (request(2, Command::DmaMap, &map_body(3, 0, IOVA, 4096)), vec![fd_of(&memory)]),
        (request(3, Command::DmaMap, &map_body(3, 0, 2 * IOVA, 4096)), none()),
        (request(4, Command::DeviceSetIrqs, &irqs), events.iter().map(AsFd::as_fd).collect()),
        (request(5, Command::RegionWrite, &write_body(0, 0, &(IOVA + 8).to_le_bytes())), none()),
        (request(6, Command::RegionWrite, &write_body(0, 0, &(2 * IOVA).to_le_bytes())), none()),
        (request(7, Command::DmaUnmap, &unmap_body(0, IOVA, 4096)), none()),
    ];
    let length: usize = words.iter().map(|(message, _)| message.len()).sum();
    let round = |times: usize| {
        for end in 0..times {
            say(&served, &words, end % (length + 1));
        }
        let mut client = Raw::introduced(served.path());
        assert!(client.ask(Command::DeviceReset, &[]).is_ok());
        drop(client);
        let gone = || card.opened.load(Ordering::SeqCst) == 0 && card.dma().is_none() && !card.has_vectors();
        until("the end of the last client", gone);
    };
    round(length + 1);
    until("threads to end", || descriptors() < 64);
    let (before, memory_before) = (descriptors(), resident());
    // A close after every byte of the conversation, many times over: ten thousand clients.
    round(10_000);
    until("every descriptor to be closed", || descriptors() <= before);
    assert!(resident() < memory_before + (16 << 10), "{memory_before} and {} KiB", resident());
    assert!(served.detached.load(Ordering::SeqCst) > 5_000, "most introduced themselves");
}
