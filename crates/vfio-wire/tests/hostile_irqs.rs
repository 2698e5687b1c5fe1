//! Requests about interrupts in every form, right and wrong.
#![cfg(target_os = "linux")]

mod parts;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parts::card::{Card, VECTORS};
use parts::{Raw, Served, event, reply_to, until};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vfio_wire::message::{Command, Header, Kind, SetIrqsBody};
use vfio_wire::server::ServerOptions;
use vfio_wire::socket::SocketError;

const EINVAL: u32 = 22;
const NONE: u32 = 1;
const BOOL: u32 = 2;
const EVENTS: u32 = 4;
const MASK: u32 = 8;
const UNMASK: u32 = 0x10;
const TRIGGER: u32 = 0x20;

fn served() -> (Arc<Card>, Served, Raw) {
    let card = Card::new();
    let served = Served::new(card.clone(), ServerOptions::default());
    let client = Raw::introduced(served.path());
    (card, served, client)
}

fn body(flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    let mut body = Vec::new();
    SetIrqsBody { argsz: SetIrqsBody::SIZE, flags, index, start, count }.write(&mut body);
    body
}

fn count_of(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(event, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn events_are_set_in_part_replaced_and_let_go() {
    let (card, _served, mut client) = served();
    let events: Vec<OwnedFd> = (0..4).map(|_| event()).collect();
    let fds: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
    let mut set = |flags, start, count, data: &[u8], fds: &[BorrowedFd<'_>]| {
        client
            .ask_with(Command::DeviceSetIrqs, &[body(flags, 0, start, count), data.to_vec()].concat(), fds)
            .map(drop)
    };
    assert_eq!(set(EVENTS | TRIGGER, 0, 4, &[], &fds), Ok(()));
    assert_eq!(set(NONE | TRIGGER, 1, 2, &[], &[]), Ok(()));
    assert_eq!(set(BOOL | TRIGGER, 0, 4, &[1, 0, 0, 0xff], &[]), Ok(()));
    assert_eq!(events.iter().map(count_of).collect::<Vec<_>>(), [1, 1, 1, 1]);
    // An entry without a descriptor lets its interrupt go.
    assert_eq!(set(EVENTS | TRIGGER, 1, 2, &[], &fds[..1]), Ok(()));
    assert_eq!(set(NONE | TRIGGER, 0, 4, &[], &[]), Ok(()));
    assert_eq!(events.iter().map(count_of).collect::<Vec<_>>(), [2, 0, 0, 1]);
    assert_eq!(set(NONE | TRIGGER, 0, 0, &[], &[]), Ok(()));
    assert!(!card.has_vectors());
}

#[test]
fn forms_that_make_no_sense_are_refused_and_change_nothing() {
    let (card, _served, mut client) = served();
    let (good, (reader, _writer)) = (event(), rustix::pipe::pipe().expect("a pipe"));
    let file = std::fs::File::open("/dev/null").expect("it is there");
    let mut set =
        |body: Vec<u8>, fds: &[BorrowedFd<'_>]| client.ask_with(Command::DeviceSetIrqs, &body, fds).map(drop);
    let events = EVENTS | TRIGGER;
    assert_eq!(set(body(events, 0, 0, 1), &[good.as_fd()]), Ok(()));
    let wrong = [
        // No index, no start, no count of the kind; sums that wrap.
        body(events, 1, 0, 1),
        body(events, u32::MAX, 0, 1),
        body(events, 0, VECTORS, 1),
        body(events, 0, 0, VECTORS + 1),
        body(events, 0, 1, VECTORS),
        body(events, 0, u32::MAX, 1),
        body(events, 0, 1, u32::MAX),
        body(events, 0, u32::MAX, u32::MAX),
        body(NONE | TRIGGER, 0, 0, u32::MAX),
        // No data or several kinds of it, flags that nobody knows.
        body(TRIGGER, 0, 0, 1),
        body(NONE | BOOL | TRIGGER, 0, 0, 1),
        body(NONE | BOOL | EVENTS | TRIGGER, 0, 0, 1),
        body(0x40 | NONE | TRIGGER, 0, 0, 1),
        body(u32::MAX, 0, 0, 1),
        // Booleans that are not there.
        body(BOOL | TRIGGER, 0, 0, 1),
        [body(BOOL | TRIGGER, 0, 0, 4), vec![1; 3]].concat(),
        [body(BOOL | MASK, 0, 0, u32::MAX), vec![1; 3]].concat(),
    ];
    for body in wrong {
        assert_eq!(set(body.clone(), &[]), Err(EINVAL), "{body:?}");
    }
    // Descriptors: no event counters, more than entries, beside data that are none.
    for odd in [reader.as_fd(), file.as_fd()] {
        assert_eq!(set(body(events, 0, 0, 1), &[odd]), Err(EINVAL));
        assert_eq!(set(body(events, 0, 0, 2), &[good.as_fd(), odd]), Err(EINVAL));
    }
    assert_eq!(set(body(events, 0, 0, 1), &[good.as_fd(), good.as_fd()]), Err(EINVAL));
    assert_eq!(set(body(NONE | TRIGGER, 0, 0, 1), &[good.as_fd()]), Err(EINVAL));
    assert_eq!(set([body(BOOL | TRIGGER, 0, 0, 1), vec![1]].concat(), &[good.as_fd()]), Err(EINVAL));
    for action in [MASK, UNMASK, TRIGGER] {
        assert_eq!(set(body(EVENTS | action, 0, 0, 0), &[good.as_fd()]), Err(EINVAL));
    }
    // The event that was set is there still.
    assert_eq!(set(body(NONE | TRIGGER, 0, 0, 1), &[]), Ok(()));
    assert!(card.has_vectors());
    assert_eq!(count_of(&good), 1);
}

#[test]
fn a_counter_that_is_full_holds_nobody_up() {
    let (_card, _served, mut client) = served();
    let full = eventfd(0, EventfdFlags::empty()).expect("an eventfd that blocks");
    rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).expect("room");
    let mut set =
        |body: Vec<u8>, fds: &[BorrowedFd<'_>]| client.ask_with(Command::DeviceSetIrqs, &body, fds).map(drop);
    assert_eq!(set(body(EVENTS | TRIGGER, 0, 0, 1), &[full.as_fd()]), Ok(()));
    for _ in 0..3 {
        assert_eq!(set(body(NONE | TRIGGER, 0, 0, 1), &[]), Ok(()));
    }
    assert_eq!(count_of(&full), u64::MAX - 1);
    assert_eq!(set(body(NONE | TRIGGER, 0, 0, 1), &[]), Ok(()));
    assert_eq!(count_of(&full), 1);
}

#[test]
fn more_descriptors_than_a_message_has_are_refused_or_end_the_connection() {
    let (card, served, mut client) = served();
    let event = event();
    let send = |client: &mut Raw, count: usize| {
        let body = body(EVENTS | TRIGGER, 0, 0, 4);
        let message =
            Header::message(9, Command::DeviceSetIrqs as u16, Kind::Request { no_reply: false }, &body);
        let fds = vec![event.as_fd(); count];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(client.socket.as_fd(), &[std::io::IoSlice::new(&message)], &mut control, SendFlags::empty())
            .expect("the server listens");
        client.receive().map(|frame| reply_to(9, frame))
    };
    for count in [5, 16] {
        assert_eq!(send(&mut client, count), Ok(Err(EINVAL)), "{count}");
    }
    for count in [17, 18, 64, 250] {
        let told = send(&mut client, count);
        assert!(matches!(told, Ok(Err(EINVAL)) | Err(SocketError::Closed)), "{count}: {told:?}");
        if told.is_err() {
            client = Raw::introduced(served.path());
        }
    }
    drop(client);
    until("the end", || card.dma().is_none());
    drop(Raw::introduced(served.path()));
}
