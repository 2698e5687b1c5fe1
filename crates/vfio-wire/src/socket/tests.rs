//! Framing against peers that behave and peers that do not, over real sockets.

use std::io::Write;

use super::*;
use crate::message::Kind;

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
    let error = (0..10_000).find_map(|_| socket.send(&bytes, &[]).err());
    assert_eq!(error, Some(SocketError::Stalled));
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
