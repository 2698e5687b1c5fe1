//! The parts that need no kernel: messages in, messages out.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::pipe::pipe;
use vfio_uapi::Errno;

use crate::abi::{IN_HEADER, OUT_HEADER, opcode};
use crate::attributes::Attributes;
use crate::channel::Channel;
use crate::listing::{Listed, pack};
use crate::operation::Operation;
use crate::request::{Header, Request};

/// The root directory.
const ROOT: u64 = 1;

fn message(code: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(((IN_HEADER + body.len()) as u32).to_ne_bytes());
    out.extend(code.to_ne_bytes());
    out.extend(7_u64.to_ne_bytes());
    out.extend(ROOT.to_ne_bytes());
    for number in [1000_u32, 100, 4321, 0] {
        out.extend(number.to_ne_bytes());
    }
    out.extend(body);
    out
}

/// A request whose answer comes out of the pipe.
fn request(code: u32, body: &[u8]) -> (Request, OwnedFd) {
    let bytes = message(code, body);
    let (header, body) = Header::decode(&bytes).expect("a whole header");
    let operation = Operation::decode(code, body).expect("a whole request");
    let (answers, fuse) = pipe().expect("a pipe");
    (Request::new(Arc::new(Channel::new(fuse)), &header, operation, false), answers)
}

fn answer(answers: &OwnedFd) -> (i32, Vec<u8>) {
    let mut bytes = [0; 8192];
    let length = rustix::io::read(answers, &mut bytes).expect("an answer");
    assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().expect("four")), length as u32);
    assert_eq!(u64::from_ne_bytes(bytes[8..16].try_into().expect("eight")), 7);
    let error = i32::from_ne_bytes(bytes[4..8].try_into().expect("four"));
    (error, bytes[OUT_HEADER..length].to_vec())
}

fn ioctl() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(5_u64.to_ne_bytes());
    body.extend(0_u32.to_ne_bytes());
    body.extend(0x3b64_u32.to_ne_bytes());
    body.extend(0x7fff_1234_5678_u64.to_ne_bytes());
    body.extend([0; 8]);
    body
}

#[test]
fn ioctl_keeps_its_argument_and_its_caller() {
    let (request, answers) = request(opcode::IOCTL, &ioctl());
    assert_eq!((request.caller().uid, request.caller().tid, request.node()), (1000, 4321, ROOT));
    let Operation::Ioctl { fh, cmd, arg, ref data, .. } = *request.operation() else { panic!("no ioctl") };
    assert_eq!((fh, cmd, arg, data.len()), (5, 0x3b64, 0x7fff_1234_5678, 0));
    request.reply_ioctl(-Errno::EINVAL.code(), b"more than there is room for");
    let (error, body) = answer(&answers);
    assert_eq!((error, body.len()), (0, 16));
    assert_eq!(body[..4], (-22_i32).to_ne_bytes());
}

#[test]
fn request_is_answered_from_another_thread() {
    let (request, answers) = request(opcode::READLINK, &[]);
    std::thread::spawn(move || request.reply_data(b"../there")).join().expect("no panic");
    assert_eq!(answer(&answers), (0, b"../there".to_vec()));
}

#[test]
fn dropped_request_is_refused() {
    let (request, answers) = request(opcode::LOOKUP, b"name\0");
    assert_eq!(*request.operation(), Operation::Lookup { name: b"name".to_vec() });
    drop(request);
    assert_eq!(answer(&answers), (-Errno::EIO.code(), vec![]));
}

#[test]
fn read_is_answered_with_no_more_than_was_asked_for() {
    let mut body = Vec::new();
    body.extend(5_u64.to_ne_bytes());
    body.extend(0_u64.to_ne_bytes());
    body.extend(3_u32.to_ne_bytes());
    body.extend([0; 20]);
    let (request, answers) = request(opcode::READ, &body);
    request.reply_data(b"abcdef");
    assert_eq!(answer(&answers), (0, b"abc".to_vec()));
}

#[test]
fn structures_have_their_sizes() {
    let attributes = Attributes { node: 2, mode: 0o100_644, size: 4096, ..Attributes::default() };
    assert_eq!((attributes.entry().len(), attributes.answer().len()), (128, 104));
}

proptest! {
    /// What is no request is none, and nothing panics.
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200), code in 0_u32..60) {
        let _ = Header::decode(&bytes);
        let _ = Operation::decode(code, &bytes);
    }

    /// Listing by pieces gives every entry once, in order.
    #[test]
    fn listing_in_pieces(names in vec("[a-z]{1,40}", 0..40), room in 64_usize..400) {
        let entries: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Listed { name: name.clone().into_bytes(), node: at as u64 + 2, mode: 0o100_000 })
            .collect();
        let (mut offset, mut seen) = (0, Vec::new());
        loop {
            let piece = pack(&entries, offset, room);
            if piece.is_empty() {
                break;
            }
            prop_assert!(piece.len() <= room);
            let mut at = 0;
            while at < piece.len() {
                offset = u64::from_ne_bytes(piece[at + 8..at + 16].try_into().expect("eight"));
                let length = u32::from_ne_bytes(piece[at + 16..at + 20].try_into().expect("four")) as usize;
                seen.push(String::from_utf8(piece[at + 24..at + 24 + length].to_vec()).expect("text"));
                at += (24 + length).next_multiple_of(8);
            }
        }
        prop_assert_eq!(seen, names);
    }
}
