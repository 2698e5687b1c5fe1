//! A hostile server of our client.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use vfio_device::ops::{IrqData, IrqFd, IrqHeader, IrqSet};
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_memory::{Memory, Prot};
use vfio_wire::client::{ClientOptions, Loan, RemoteDevice, ask, connect_stream};
use vfio_wire::message::{
    Command, DeviceInfoBody, DmaCopy, Header, IoEvent, IrqInfoBody, Kind, RegionFdsBody, RegionInfoBody,
};
use vfio_wire::socket::{Frame, Socket};

use crate::chance::Chance;
use crate::objects::{Lent, Oddities, PAGE, PAGES};

/// How long our client waits for an answer here.
const PATIENCE: Duration = Duration::from_millis(3);

/// Plays one run; the complaints.
pub(crate) fn play(seed: u64) -> Vec<String> {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    let thread = serve(theirs, Chance::new(seed));
    let complaints = drive(ours, Chance::new(seed ^ 0x5eed));
    match thread.join() {
        Ok(()) => complaints,
        Err(_) => vec!["the hostile server failed".into()],
    }
}

/// Our client at work.
fn drive(stream: UnixStream, mut chance: Chance) -> Vec<String> {
    let options = ClientOptions { patience: PATIENCE, ..ClientOptions::default() };
    let Ok(device) = connect_stream(stream, &options) else { return Vec::new() };
    let memory = Memory::memfd("lent", PAGES * PAGE).expect("memory");
    memory.fill(0, 0xa5, PAGES * PAGE).expect("inside");
    for _ in 0..chance.below(24) {
        step(&device, &memory, &mut chance);
    }
    device.close();
    // Pages 4 to 7 are lent for writing, by messages only.
    let mut page = vec![0; PAGE as usize];
    let untouched = |at: u64, page: &mut Vec<u8>| {
        memory.read(at * PAGE, page).is_ok_and(|()| page.iter().all(|byte| *byte == 0xa5))
    };
    let whole = (0..4).chain(8..PAGES).all(|at| untouched(at, &mut page));
    if whole { Vec::new() } else { vec!["the server wrote memory that it was not lent".into()] }
}

/// One call; whatever it comes to is right as long as it comes back.
fn step(device: &RemoteDevice, memory: &Memory, chance: &mut Chance) {
    let iova = chance.pick(&[0, 0x10_0000, 0xffff_ffff_fff0_0000]);
    let region = chance.index(3) as u32;
    match chance.below(14) {
        0 => drop(device.call(ask::info())),
        1 => {
            let _ = device.query_region(region).map(|found| {
                for area in found.memory {
                    let mut bytes = [0; 8];
                    let _ = area.memory.read(area.memory_offset, &mut bytes);
                    let _ = area.memory.write(area.memory_offset + area.len - 8, &bytes);
                }
            });
        }
        2 => drop(device.call(ask::irq_info(region))),
        3 => drop(
            device.call(ask::doorbells(region)).map(|bells| bells.iter().for_each(|it| it.event.signal(1))),
        ),
        4 => drop(device.read(region, chance.next(), &mut vec![0; chance.below(9000)])),
        5 => drop(device.write(region, chance.next(), &chance.bytes(100))),
        6 => drop(device.reset()),
        7 | 8 => {
            let (at, prot) = if chance.one_in(2) { (4, Prot::RW) } else { (8, Prot::READ) };
            let loan = Loan {
                iova,
                memory: memory.clone(),
                offset: at * PAGE,
                len: 4 * PAGE,
                prot,
                by_message: true,
            };
            let _ = device.dma_map(&loan);
        }
        9 => drop(device.dma_unmap(iova, 4 * PAGE)),
        10 => {
            let events = (0..4).map(|_| IrqFd::Fd(EventFd::new(0).expect("an eventfd"))).collect();
            let header = IrqHeader { argsz: 36, flags: 0x24, index: 0, start: 0, count: 4 };
            let _ = device.set_irqs(&IrqSet { header, data: IrqData::EventFds(events) });
        }
        11 => drop(device.call(ask::feature(0x1_0001, &[], 64))),
        12 => drop(device.migration_read(chance.below(4096))),
        _ => drop(device.migration_write(&chance.bytes(200))),
    }
}

/// Serves until the client has gone, or chance ends it.
fn serve(stream: UnixStream, mut chance: Chance) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let socket = Socket::new(stream, 2 << 20, Duration::from_millis(500));
        let oddities = Oddities::new();
        let lent = Lent::new();
        while let Ok(frame) = socket.receive() {
            for _ in 0..chance.below(3) {
                ask_for_memory(&socket, &mut chance);
            }
            if !answer(&socket, &frame, &mut chance, &oddities, &lent) {
                return;
            }
        }
    })
}

fn ask_for_memory(socket: &Socket, chance: &mut Chance) {
    let iova = chance.pick(&[0, 0x10_0000, 0xffff_ffff_fff0_0000, 0xffff_ffff_fff0_3000]);
    let (iova, count) = (chance.number(iova), chance.number(64));
    let mut body = Vec::new();
    DmaCopy { iova, count }.write(&mut body);
    let command = chance.pick(&[Command::DmaRead, Command::DmaWrite, Command::DmaWrite, Command::RegionRead]);
    if command == Command::DmaWrite {
        body.extend(std::iter::repeat_n(0x77, count.min(8192) as usize));
    }
    if chance.one_in(10) {
        chance.spoil(&mut body);
    }
    let kind = Kind::Request { no_reply: chance.one_in(4) };
    // The client may have gone.
    let _ = socket.send(&Header::message(chance.next() as u16, command as u16, kind, &body), &[]);
}

/// Answers a request, rightly more often than not; false ends the connection.
fn answer(socket: &Socket, asked: &Frame, chance: &mut Chance, oddities: &Oddities, lent: &Lent) -> bool {
    let mut body = good_answer(asked, chance);
    let kind = match chance.below(12) {
        // Mostly it goes; now and then it is only silent.
        0 => return chance.one_in(6),
        2 => Kind::Reply { error: Some(chance.pick(&[0, 22, 38, 9999, u32::MAX])) },
        3 => Kind::Request { no_reply: false },
        _ => Kind::Reply { error: None },
    };
    if chance.one_in(8) {
        chance.spoil(&mut body);
    }
    let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
    let wants = [Command::DeviceGetRegionInfo as u16, Command::DeviceGetRegionIoFds as u16];
    if wants.contains(&asked.header.command) || chance.one_in(12) {
        for _ in 0..chance.pick(&[0, 1, 1, 2, 16]) {
            fds.push(if chance.one_in(3) { oddities.any(chance) } else { lent.fd.as_fd() });
        }
    }
    let id = if chance.one_in(24) { chance.next() as u16 } else { asked.header.id };
    let command = if chance.one_in(24) { chance.next() as u16 } else { asked.header.command };
    let mut message = Header::message(id, command, kind, &body);
    if chance.one_in(32) {
        let size = chance.pick(&[0, 15, 16, message.len() as u32 + 5, u32::MAX]);
        message[4..8].copy_from_slice(&size.to_ne_bytes());
    }
    let times = if chance.one_in(24) { 2 } else { 1 };
    (0..times).all(|_| socket.send(&message, &fds).is_ok())
}

fn good_answer(asked: &Frame, chance: &mut Chance) -> Vec<u8> {
    let mut body = Vec::new();
    match Command::from_number(asked.header.command) {
        Some(Command::Version) => {
            let minor = chance.pick(&[0, 1, 1, 1, 2]);
            let text = br#"{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":65536}}"#;
            body.extend([0, 0, minor, 0]);
            body.extend_from_slice(text);
            body.push(0);
        }
        Some(Command::DeviceGetInfo) => {
            let (num_regions, num_irqs) = (chance.number(3) as u32, chance.number(1) as u32);
            DeviceInfoBody { argsz: 16, flags: 3, num_regions, num_irqs }.write(&mut body);
        }
        Some(Command::DeviceGetRegionInfo) => {
            let cap_offset = chance.pick(&[0, 0, 32, 31, 40, u32::MAX]);
            let (size, offset) = (chance.number(8192), chance.number(0));
            let argsz = chance.number(72) as u32;
            let flags = chance.pick(&[3, 7, 15]);
            RegionInfoBody { argsz, flags, index: 0, cap_offset, size, offset }.write(&mut body);
            // A capability of sparse areas, whose number and place may be anything.
            body.extend(1_u16.to_ne_bytes().into_iter().chain(1_u16.to_ne_bytes()));
            body.extend((chance.pick(&[0, 0, 32, 64, u32::MAX])).to_ne_bytes());
            body.extend((chance.number(1) as u32).to_ne_bytes());
            body.extend([0; 4]);
            body.extend(chance.number(0).to_ne_bytes());
            body.extend(chance.number(4096).to_ne_bytes());
        }
        Some(Command::DeviceGetIrqInfo) => {
            IrqInfoBody { argsz: 16, flags: 1, index: 0, count: chance.number(4) as u32 }.write(&mut body);
        }
        Some(Command::DeviceGetRegionIoFds) => {
            let count = chance.number(1) as u32;
            RegionFdsBody { argsz: chance.number(56) as u32, flags: 0, index: 0, count }.write(&mut body);
            let fd_index = chance.number(0) as u32;
            IoEvent {
                offset: chance.number(0),
                size: chance.number(4),
                fd_index,
                datamatch: None,
                port: false,
            }
            .write(&mut body);
        }
        Some(Command::RegionRead) => {
            body.extend_from_slice(&asked.body);
            let count =
                asked.body.get(12..16).map_or(0, |it| u32::from_ne_bytes(it.try_into().expect("four")));
            body.resize(body.len() + count.min(1 << 20) as usize, 0x33);
        }
        Some(Command::RegionWrite) => body.extend_from_slice(&asked.body[..asked.body.len().min(16)]),
        Some(Command::DmaUnmap | Command::DeviceFeature | Command::MigDataRead) => {
            body.extend_from_slice(&asked.body);
        }
        _ => {}
    }
    body
}
