//! Messages that are not as they should be: each gets an errno or the end of the connection, and the next client is served.
#![cfg(target_os = "linux")]

mod parts;

use std::os::fd::AsFd;

use parts::card::{Card, REGISTERS};
use parts::{Raw, Served, event, map_body, read_body, reply_to, unmap_body, write_body};
use vfio_wire::message::{Command, Header, Kind};
use vfio_wire::server::ServerOptions;
use vfio_wire::socket::SocketError;

const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;
const REQUEST: Kind = Kind::Request { no_reply: false };

fn served() -> Served {
    Served::new(Card::new(), ServerOptions::default())
}

fn with_argsz(mut body: Vec<u8>, argsz: u32) -> Vec<u8> {
    body[..4].copy_from_slice(&argsz.to_ne_bytes());
    body
}

/// The client says this and is sent away.
fn ends(served: &Served, introduced: bool, bytes: &[u8]) {
    let mut client = if introduced { Raw::introduced(served.path()) } else { Raw::silent(served.path()) };
    client.socket.send(bytes, &[]).expect("the server listens");
    loop {
        match client.receive() {
            Ok(_) => {}
            Err(SocketError::Closed | SocketError::Cut) => break,
            Err(error) => panic!("{bytes:?}: {error}"),
        }
    }
}

#[test]
fn sizes_that_no_message_has_end_the_connection() {
    let served = served();
    for size in [0_u32, 1, 15, 2 << 20, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut bytes = Header::message(1, Command::DeviceGetInfo as u16, REQUEST, &[0; 16]);
        bytes[4..8].copy_from_slice(&size.to_ne_bytes());
        ends(&served, true, &bytes);
    }
    // A message of nothing but its header is one.
    let mut client = Raw::introduced(served.path());
    assert_eq!(client.ask(Command::DeviceGetInfo, &[]), Err(EINVAL));
    assert_eq!(client.ask(Command::DeviceReset, &[]), Ok(Vec::new()));
}

#[test]
fn types_that_mean_nothing_and_replies_that_nobody_asked_for_end_the_connection() {
    let served = served();
    for bits in 2..16 {
        let mut bytes = Header::message(1, Command::DeviceGetInfo as u16, REQUEST, &[0; 16]);
        bytes[8] = bits;
        ends(&served, true, &bytes);
    }
    for command in [Command::DmaRead, Command::RegionRead, Command::Version] {
        ends(&served, true, &Header::message(7, command as u16, Kind::Reply { error: None }, &[0; 24]));
        ends(&served, true, &Header::message(7, command as u16, Kind::Reply { error: Some(5) }, &[]));
    }
    ends(&served, false, &Header::message(1, Command::Version as u16, Kind::Reply { error: None }, &[0; 4]));
}

#[test]
fn a_version_is_said_first_once_and_readably() {
    let served = served();
    let said = |body: &[u8]| Header::message(1, Command::Version as u16, REQUEST, body);
    let text = |text: &[u8]| said(&[&[0, 0, 1, 0], text].concat());
    // Late.
    ends(&served, false, &Header::message(1, Command::DeviceGetInfo as u16, REQUEST, &[0; 16]));
    ends(&served, false, &Header::message(1, Command::DmaMap as u16, REQUEST, &map_body(3, 0, 0, 4096)));
    // Short, unterminated, no JSON, of another major version, with senseless values, huge, deeply nested.
    ends(&served, false, &said(&[]));
    ends(&served, false, &said(&[0, 0, 1]));
    ends(&served, false, &said(&[1, 0, 0, 0]));
    ends(&served, false, &text(b"{}"));
    ends(&served, false, &text(b"{\0"));
    ends(&served, false, &text(b"{\"capabilities\":{\"max_msg_fds\":-1}}\0"));
    ends(&served, false, &text(&[&b" ".repeat(1 << 20)[..], b"{}\0"].concat()));
    ends(
        &served,
        false,
        &text(&[b"{\"a\":".repeat(20_000), b"1".to_vec(), b"}".repeat(20_000), vec![0]].concat()),
    );
    ends(&served, false, &text(&[&b"[".repeat(100_000)[..], &[0]].concat()));
    // Without wanting to hear of it.
    ends(&served, false, &Header::message(1, 1, Kind::Request { no_reply: true }, &[0, 0, 1, 0]));
    // Twice: refused, and the connection goes on.
    let mut client = Raw::introduced(served.path());
    assert_eq!(client.ask(Command::Version, &[0, 0, 1, 0]), Err(EINVAL));
    assert!(client.ask(Command::DeviceReset, &[]).is_ok());
}

#[test]
fn ids_are_the_clients_to_choose() {
    let served = served();
    let mut client = Raw::introduced(served.path());
    // The same id for several requests at once, and one of an earlier request: each is answered by it.
    let read =
        |id, offset| Header::message(id, Command::RegionRead as u16, REQUEST, &read_body(0, offset, 4));
    let together = [read(9, 0), read(9, 4), read(u16::MAX, 8), read(9, 12)].concat();
    client.socket.send(&together, &[]).expect("the server listens");
    for (id, offset) in [(9, 0), (9, 4), (u16::MAX, 8), (9, 12)] {
        let frame = client.receive().expect("a reply");
        assert_eq!(reply_to(id, frame).expect("data")[..16], read_body(0, offset, 4));
    }
}

#[test]
fn who_wants_no_reply_gets_none_whatever_was_asked() {
    let served = served();
    let mut client = Raw::introduced(served.path());
    let event = event();
    let quiet =
        |command: u16, body: &[u8]| Header::message(77, command, Kind::Request { no_reply: true }, body);
    client.socket.send(&quiet(Command::RegionWrite as u16, &write_body(0, 8, &[5; 4])), &[]).expect("sent");
    client.socket.send(&quiet(Command::RegionWrite as u16, &write_body(0, 512, &[6; 4])), &[]).expect("sent");
    client.socket.send(&quiet(Command::DmaMap as u16, &map_body(3, 0, 0, 4096)), &[]).expect("sent");
    // Refused, and not a word of it.
    client.socket.send(&quiet(Command::RegionRead as u16, &read_body(9, 0, 4)), &[]).expect("sent");
    client
        .socket
        .send(&quiet(Command::DmaMap as u16, &map_body(3, 0, 0, 1)), &[event.as_fd()])
        .expect("sent");
    client.socket.send(&quiet(1234, &[]), &[]).expect("sent");
    // What was done is done.
    assert_eq!(client.ask(Command::RegionRead, &read_body(0, 8, 4)).expect("data")[16..], [5; 4]);
    assert_eq!(client.ask(Command::RegionRead, &read_body(0, 512, 4)).expect("data")[16..], [6; 4]);
    assert_eq!(client.ask(Command::DmaMap, &map_body(3, 0, 0, 4096)), Err(17), "it is mapped");
}

#[test]
fn commands_and_flags_that_are_not_known_are_refused() {
    let served = served();
    let mut client = Raw::introduced(served.path());
    for command in [0_u16, 19, 100, 0x8000, u16::MAX] {
        let bytes = Header::message(3, command, REQUEST, &[0; 40]);
        client.socket.send(&bytes, &[]).expect("the server listens");
        assert_eq!(reply_to(3, client.receive().expect("a reply")), Err(ENOSYS));
    }
    for flags in [4, 8, 0x8000_0003, u32::MAX] {
        assert_eq!(client.ask(Command::DmaMap, &map_body(flags, 0, 0, 4096)), Err(EINVAL));
        assert_eq!(client.ask(Command::DmaUnmap, &unmap_body(flags, 0, 4096)), Err(EINVAL));
    }
    // What is only the server's to ask.
    for command in [Command::DmaRead, Command::DmaWrite] {
        assert_eq!(client.ask(command, &[0; 24]), Err(EINVAL));
    }
    // A body that no reset has; descriptors where none belong.
    assert_eq!(client.ask(Command::DeviceReset, &[0]), Err(EINVAL));
    let event = event();
    for command in [Command::DeviceGetInfo, Command::RegionRead, Command::DeviceReset, Command::DmaUnmap] {
        assert_eq!(client.ask_with(command, &[0; 32], &[event.as_fd()]), Err(EINVAL));
    }
    assert!(client.ask(Command::DeviceReset, &[]).is_ok());
}

#[test]
fn argsz_is_at_least_that_of_the_structure() {
    let served = served();
    let mut client = Raw::introduced(served.path());
    let cases = [
        (Command::DmaMap, map_body(3, 0, 0x10_0000, 4096)),
        (Command::DmaUnmap, unmap_body(0, 0x10_0000, 4096)),
        (Command::DeviceGetInfo, [16_u32, 0, 0, 0].map(u32::to_ne_bytes).concat()),
        (Command::DeviceGetRegionInfo, [&32_u32.to_ne_bytes()[..], &[0; 28]].concat()),
        (Command::DeviceGetIrqInfo, [16_u32, 0, 0, 0].map(u32::to_ne_bytes).concat()),
        (Command::DeviceSetIrqs, [20_u32, 0x21, 0, 0, 0].map(u32::to_ne_bytes).concat()),
    ];
    for (command, body) in cases {
        for argsz in [0, 1, body.len() as u32 - 1] {
            assert_eq!(
                client.ask(command, &with_argsz(body.clone(), argsz)),
                Err(EINVAL),
                "{command:?} {argsz}"
            );
        }
        for end in 0..body.len() {
            assert_eq!(client.ask(command, &body[..end]), Err(EINVAL), "{command:?}, {end} bytes");
        }
        // Larger: only what exists is answered.
        let answer = client.ask(command, &with_argsz(body.clone(), u32::MAX)).expect("an answer");
        assert!(answer.len() <= body.len(), "{command:?}");
    }
}

#[test]
fn accesses_stay_inside_their_region() {
    let served = served();
    let mut client = Raw::introduced(served.path());
    let outside = [
        (0, REGISTERS, 1),
        (0, REGISTERS - 1, 2),
        (0, u64::MAX, 1),
        (0, u64::MAX - 3, 8),
        (0, 1 << 63, 4),
        (0, 0, 0),
        (0, 0, u32::MAX),
        (0, 0, (1 << 20) + 1),
        (3, 0, 1),
        (9, 0, 1),
        (u32::MAX, 0, 1),
    ];
    for (region, offset, count) in outside {
        let body = read_body(region, offset, count);
        assert_eq!(client.ask(Command::RegionRead, &body), Err(EINVAL), "{region} {offset} {count}");
        let body = [body, vec![0; count.min(4096) as usize]].concat();
        assert_eq!(client.ask(Command::RegionWrite, &body), Err(EINVAL), "{region} {offset} {count}");
    }
    // Data that are not as long as said.
    for len in [0, 3, 5] {
        let body = [read_body(0, 8, 4), vec![1; len]].concat();
        assert_eq!(client.ask(Command::RegionWrite, &body), Err(EINVAL));
    }
    assert_eq!(client.ask(Command::RegionRead, &[read_body(0, 8, 4), vec![0]].concat()), Err(EINVAL));
    // Several writes: their number and the size agree, each has at most eight bytes, and all are inside or none is done.
    let many = |count: u64, writes: &[Vec<u8>]| [count.to_ne_bytes().to_vec(), writes.concat()].concat();
    let [good, long, far] = [write_body(0, 8, &[7; 8]), read_body(0, 8, 9), read_body(0, REGISTERS, 4)];
    let [long, far] = [long, far].map(|head| [head, vec![0; 8]].concat());
    for body in [
        many(1 << 61, &[]),
        many(2, std::slice::from_ref(&good)),
        many(2, &[good.clone(), long]),
        many(2, &[good, far]),
    ] {
        assert_eq!(client.ask(Command::RegionWriteMulti, &body), Err(EINVAL));
    }
    assert_eq!(client.ask(Command::RegionRead, &read_body(0, 8, 8)).expect("data")[16..], [0; 8]);
}
