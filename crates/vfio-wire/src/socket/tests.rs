//! Framing against peers that behave and peers that do not, over real sockets.

use std::io::Write;

use super::*;
use crate::message::{HEADER_SIZE, Kind};

const PATIENCE: Duration = Duration::from_millis(200);

fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (Socket::new(ours, 4096, PATIENCE), theirs)
}

fn message(body: &[u8]) -> Vec<u8> {
    Header::message(7, 9, Kind::Request { no_reply: false }, body)
}

#[test]
fn a_message_arrives_whole_however_it_is_cut() {
    let (socket, mut peer) = pair();
    let bytes = message(b"body");
    let writer = std::thread::spawn(move || {
        for byte in bytes {
            peer.write_all(&[byte]).expect("the socket is open");
        }
        peer
    });
    let frame = socket.receive().expect("a message");
    assert_eq!((frame.header.id, frame.header.command, &frame.body[..]), (7, 9, &b"body"[..]));
    drop(writer.join());
    assert_eq!(socket.receive().unwrap_err(), SocketError::Closed);
}

#[test]
fn two_messages_in_one_segment_are_two() {
    let (socket, mut peer) = pair();
    peer.write_all(&[message(b"one"), message(b"two")].concat()).expect("the socket is open");
    assert_eq!(socket.receive().expect("a message").body, b"one");
    assert_eq!(socket.receive().expect("a message").body, b"two");
}

#[test]
fn sizes_out_of_bounds_are_refused_before_anything_is_allocated() {
    for size in [0_u32, 15, 4097, u32::MAX] {
        let (socket, mut peer) = pair();
        let mut bytes = message(b"");
        bytes[4..8].copy_from_slice(&size.to_ne_bytes());
        peer.write_all(&bytes).expect("the socket is open");
        assert_eq!(socket.receive().unwrap_err(), SocketError::BadSize(size));
    }
}

#[test]
fn a_peer_that_stops_within_a_message_is_given_up() {
    let (socket, mut peer) = pair();
    peer.write_all(&message(b"body")[..18]).expect("the socket is open");
    assert_eq!(socket.receive().unwrap_err(), SocketError::Stalled);
    drop(peer);
    let (socket, mut peer) = pair();
    peer.write_all(&message(b"body")[..5]).expect("the socket is open");
    drop(peer);
    assert_eq!(socket.receive().unwrap_err(), SocketError::Cut);
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let (socket, _peer) = pair();
    let bytes = message(&[0; 4000]);
    let began = Instant::now();
    let error = (0..20_000).find_map(|_| socket.send(&bytes, &[]).err());
    assert_eq!(error, Some(SocketError::Stalled), "more is queued than anyone needs");
    assert!(began.elapsed() < PATIENCE * 4, "nobody waited");
    let (socket, _peer) = pair();
    for _ in 0..500 {
        socket.send(&bytes, &[]).expect("queued");
    }
    assert_eq!(socket.wait_for_room(), Err(SocketError::Stalled));
    assert_eq!(socket.send(&bytes, &[]), Err(SocketError::Stalled));
}

#[test]
fn descriptors_arrive_with_their_message() {
    let (socket, peer) = pair();
    let peer = Socket::new(peer, 4096, PATIENCE);
    let one = rustix::event::eventfd(5, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    let two = std::io::stdin();
    peer.send(&message(b"x"), &[one.as_fd(), two.as_fd()]).expect("the socket is open");
    let frame = socket.receive().expect("a message");
    assert_eq!(frame.fds.len(), 2);
    let mut count = [0; 8];
    rustix::io::read(&frame.fds[0], &mut count).expect("an eventfd");
    assert_eq!(u64::from_ne_bytes(count), 5);
}

#[test]
fn what_is_queued_arrives_in_order_with_its_descriptors() {
    let (socket, peer) = pair();
    let receiver = Socket::new(peer, 4096, PATIENCE);
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    for number in 0..2000_u16 {
        let body = vec![0; 3000];
        let kind = Kind::Request { no_reply: false };
        let fds = [event.as_fd()];
        let fds = if number % 7 == 0 { &fds[..] } else { &[] };
        socket.send(&Header::message(number, 9, kind, &body), fds).expect("queued");
    }
    for number in 0..2000_u16 {
        let frame = receiver.receive().expect("a message");
        assert_eq!((frame.header.id, frame.body.len()), (number, 3000));
        assert_eq!(frame.fds.len(), usize::from(number % 7 == 0), "message {number}");
    }
    socket.wait_for_room().expect("nothing is queued");
}

#[test]
fn descriptors_stay_with_their_message_among_others() {
    let (socket, peer) = pair();
    let peer = Socket::new(peer, 4096, PATIENCE);
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    peer.send(&message(b"without"), &[]).expect("open");
    peer.send(&message(b"with"), &[event.as_fd()]).expect("open");
    peer.send(&message(b"with two"), &[event.as_fd(), event.as_fd()]).expect("open");
    peer.send(&message(b"without"), &[]).expect("open");
    for wanted in [0, 1, 2, 0] {
        assert_eq!(socket.receive().expect("a message").fds.len(), wanted);
    }
    // The header by itself, as some do, and then descriptors where none may be.
    let whole = message(b"in two");
    peer.send(&whole[..HEADER_SIZE], &[event.as_fd()]).expect("open");
    peer.send(&whole[HEADER_SIZE..], &[]).expect("open");
    assert_eq!(socket.receive().expect("a message").fds.len(), 1);
    peer.send(&whole[..HEADER_SIZE], &[]).expect("open");
    let receiver = std::thread::spawn(move || socket.receive().map(|frame| frame.fds.len()));
    std::thread::sleep(PATIENCE / 4);
    peer.send(&whole[HEADER_SIZE..], &[event.as_fd()]).expect("open");
    assert_eq!(receiver.join().expect("no panic"), Err(SocketError::TooManyFds));
}

#[test]
fn long_messages_arrive_whole_among_short_ones() {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let (socket, peer) = (Socket::new(ours, 2 << 20, PATIENCE), Socket::new(theirs, 2 << 20, PATIENCE));
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    let sizes = [0, 1, 70_000, 65_520, 65_521, 3, 1 << 20, 40_000, 40_000, 0];
    for (at, size) in sizes.into_iter().enumerate() {
        let body: Vec<u8> = (0..size).map(|i| (i * 7 + at) as u8).collect();
        peer.send(&message(&body), &[event.as_fd()]).expect("queued");
    }
    for (at, size) in sizes.into_iter().enumerate() {
        let frame = socket.receive().expect("a message");
        assert_eq!((frame.body.len(), frame.fds.len()), (size, 1), "message {at}");
        assert!(frame.body.iter().enumerate().all(|(i, byte)| *byte == (i * 7 + at) as u8));
    }
}

#[test]
fn waiting_for_a_message_may_end_without_one() {
    let (socket, mut peer) = pair();
    assert!(socket.receive_before(Some(Instant::now() + PATIENCE / 4)).is_ok_and(|frame| frame.is_none()));
    assert_eq!(socket.receive_within(PATIENCE / 4).unwrap_err(), SocketError::Stalled);
    peer.write_all(&message(b"x")).expect("the socket is open");
    assert!(socket.receive_before(Some(Instant::now())).is_ok_and(|frame| frame.is_some()));
}
