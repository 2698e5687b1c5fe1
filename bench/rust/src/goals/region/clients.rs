//! Clients: how each makes a round trip.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use vfio_device::ops::{IrqData, IrqFd, IrqHeader, IrqSet};
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_user::Client;
use vfio_wire::client::{ClientOptions, RemoteDevice, ask, connect};

use super::{Trip, WIDTH};

/// Bytes of the messages of a read: header, head, and in the reply the data.
pub const REQUEST: usize = 32;
pub const REPLY: usize = REQUEST + WIDTH;
/// Where the doorbell is.
pub const BELL: u64 = 64;

fn number(bytes: [u8; WIDTH]) -> u64 {
    u32::from_le_bytes(bytes).into()
}

pub fn stream(path: &Path) -> Trip {
    let mut stream = UnixStream::connect(path).expect("a server");
    let (request, mut reply) = ([0; REQUEST], [0; REPLY]);
    Box::new(move || {
        stream.write_all(&request).expect("it listens");
        stream.read_exact(&mut reply).expect("it answers");
        number(*reply.last_chunk().expect("long enough"))
    })
}

pub fn ours(path: &Path) -> Trip {
    let device = device(path);
    let mut value = [0; WIDTH];
    Box::new(move || {
        device.read(0, 0, &mut value).expect("it answers");
        number(value)
    })
}

pub fn theirs(path: &Path) -> Trip {
    let mut client = Client::new(path).expect("a server");
    let mut value = [0; WIDTH];
    Box::new(move || {
        client.region_read(0, 0, &mut value).expect("it answers");
        number(value)
    })
}

pub fn events(path: &Path) -> Trip {
    let stream = UnixStream::connect(path).expect("a server");
    let [bell, interrupt] = [(); 2].map(|()| event());
    let fds = [bell.as_fd(), interrupt.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&stream, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).expect("it listens");
    let (mut bell, mut interrupt) = (File::from(bell), File::from(interrupt));
    Box::new(move || {
        let _held = &stream;
        bell.write_all(&1_u64.to_ne_bytes()).expect("room");
        wait(&mut interrupt)
    })
}

pub fn receive_events(stream: &UnixStream) -> [File; 2] {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::empty()).expect("a message");
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights.map(File::from));
        }
    }
    files.try_into().expect("two of them")
}

pub fn doorbell(path: &Path) -> Trip {
    let device = device(path);
    let mut interrupt = interrupt(&device);
    let bells = device.call(ask::doorbells(0)).expect("it answers");
    let bell = bells[0].event.as_fd().expect("it can be lent").expect("it has one");
    let mut bell = File::from(bell.try_clone_to_owned().expect("a descriptor"));
    Box::new(move || {
        let _held = &device;
        bell.write_all(&1_u64.to_ne_bytes()).expect("room");
        wait(&mut interrupt)
    })
}

pub fn write_and_interrupt(path: &Path) -> Trip {
    let device = device(path);
    let mut interrupt = interrupt(&device);
    Box::new(move || {
        device.write(0, 0, &[1; WIDTH]).expect("it answers");
        wait(&mut interrupt)
    })
}

fn device(path: &Path) -> RemoteDevice {
    connect(path, &ClientOptions::default()).expect("a server")
}

/// Has the device interrupt by an event that can be waited for.
fn interrupt(device: &RemoteDevice) -> File {
    let event = event();
    let ours = File::from(event.try_clone().expect("a descriptor"));
    let data = IrqData::EventFds(vec![IrqFd::Fd(EventFd::from_fd(event).expect("an eventfd"))]);
    let header = IrqHeader { argsz: 24, flags: 0x24, index: 0, start: 0, count: 1 };
    device.set_irqs(&IrqSet { header, data }).expect("it answers");
    ours
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")
}

/// Whoever is passed an eventfd makes it one that does not block, for all; so all wait the same way.
fn wait(interrupt: &mut File) -> u64 {
    let mut count = [0; 8];
    poll(&mut [PollFd::new(interrupt, PollFlags::IN)], None).expect("it comes");
    interrupt.read_exact(&mut count).expect("it comes");
    u64::from_ne_bytes(count)
}
