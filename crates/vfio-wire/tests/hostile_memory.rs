//! Memory that a client lends wrongly, takes back at the wrong time, or cuts short.
#![cfg(target_os = "linux")]

mod parts;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parts::card::Card;
use parts::{Raw, Served, dma_read_reply, event, map_body, unmap_body, until, write_body};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};
use vfio_iommu::DmaSpace;
use vfio_wire::message::Command;
use vfio_wire::server::ServerOptions;

const EACCES: u32 = 13;
const EEXIST: u32 = 17;
const ENODEV: u32 = 19;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
const PAGE: u64 = 4096;
const RW: u32 = 3;

fn served(options: ServerOptions) -> (Arc<Card>, Served, Raw) {
    let card = Card::new();
    let served = Served::new(card.clone(), options);
    let client = Raw::introduced(served.path());
    // The version is answered before the device is opened.
    until("the device", || card.dma().is_some());
    (card, served, client)
}

fn memfd(pages: u64) -> OwnedFd {
    let fd = memfd_create("lent", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&fd, pages * PAGE).expect("room");
    fd
}

fn reaches(dma: &Arc<dyn DmaSpace>, iova: u64) -> bool {
    dma.read(iova, &mut [0; 4]).is_ok()
}

#[test]
fn ranges_that_make_no_sense_are_refused_and_nothing_is_mapped() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let dma = card.dma().expect("open");
    let fd = memfd(8);
    let senseless = [
        (0, 0, 0x10_0000, PAGE),
        (RW, 0, 0x10_0000, 0),
        (RW, 0, 0x10_0000, 1),
        (RW, 0, 0x10_0000, PAGE + 1),
        (RW, 0, 0x10_0001, PAGE),
        (RW, 0, 0x10_0800, PAGE),
        (RW, 1, 0x10_0000, PAGE),
        (RW, 0, 0u64.wrapping_sub(PAGE), 2 * PAGE),
        (RW, 0, PAGE, u64::MAX),
        (RW, 0, PAGE, !0xfff),
        (RW, 8 * PAGE, 0x10_0000, PAGE),
        (RW, 7 * PAGE, 0x10_0000, 2 * PAGE),
        (RW, 0, 0x10_0000, 9 * PAGE),
        (RW, 0, 0x10_0000, 1 << 62),
        (RW, 0u64.wrapping_sub(PAGE), 0x10_0000, PAGE),
        (RW, 0u64.wrapping_sub(PAGE), 0x10_0000, 2 * PAGE),
    ];
    for (flags, offset, iova, size) in senseless {
        let body = map_body(flags, offset, iova, size);
        assert_eq!(
            client.ask_with(Command::DmaMap, &body, &[fd.as_fd()]),
            Err(EINVAL),
            "{flags} {offset:#x} {iova:#x} {size:#x}"
        );
    }
    assert_eq!(
        client.ask_with(Command::DmaMap, &map_body(RW, 0, 0, PAGE), &[fd.as_fd(), fd.as_fd()]),
        Err(EINVAL)
    );
    assert!(!reaches(&dma, 0) && !reaches(&dma, 0x10_0000) && !reaches(&dma, PAGE));
    // The last page of all is a place like any other.
    let last = 0u64.wrapping_sub(PAGE);
    assert!(client.ask_with(Command::DmaMap, &map_body(RW, 0, last, PAGE), &[fd.as_fd()]).is_ok());
    assert!(reaches(&dma, u64::MAX - 3));
}

#[test]
fn maps_do_not_overlap() {
    let (_card, _served, mut client) = served(ServerOptions { max_dma_maps: 4, ..ServerOptions::default() });
    let fd = memfd(8);
    let mut map = |iova, pages, by_fd: bool| {
        let fds = [fd.as_fd()];
        client.ask_with(Command::DmaMap, &map_body(RW, 0, iova, pages * PAGE), if by_fd { &fds } else { &[] })
    };
    assert!(map(0x10_0000, 4, true).is_ok());
    for by_fd in [true, false] {
        for (iova, pages) in
            [(0x10_0000, 4), (0x0f_f000, 2), (0x10_3000, 2), (0x10_1000, 1), (0x0f_0000, 0x40)]
        {
            assert_eq!(map(iova, pages, by_fd), Err(EEXIST), "{iova:#x}");
        }
    }
    assert!(
        map(0x0f_f000, 1, true).is_ok()
            && map(0x10_4000, 1, false).is_ok()
            && map(0x20_0000, 1, true).is_ok()
    );
    assert_eq!(map(0x30_0000, 1, true), Err(ENOSPC), "no more than were agreed on");
}

#[test]
fn descriptors_that_are_no_memory_are_refused() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let directory = File::open("/").expect("a directory");
    let (null, zero) = (File::open("/dev/null").expect("there"), File::open("/dev/zero").expect("there"));
    let status = File::open("/proc/self/status").expect("there");
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    drop(other);
    let program = File::open("/proc/self/exe").expect("there");
    let event = event();
    let odd = [
        reader.as_fd(),
        writer.as_fd(),
        directory.as_fd(),
        null.as_fd(),
        zero.as_fd(),
        status.as_fd(),
        one.as_fd(),
        event.as_fd(),
        // A file, but not to be written.
        program.as_fd(),
    ];
    for (at, fd) in odd.into_iter().enumerate() {
        let refused = client.ask_with(Command::DmaMap, &map_body(RW, 0, 0x10_0000, PAGE), &[fd]);
        assert!(matches!(refused, Err(EACCES | ENODEV | EINVAL | 95)), "{at}: {refused:?}");
    }
    // One that may not be written any more is memory to read.
    let sealed = memfd(1);
    fcntl_add_seals(&sealed, SealFlags::WRITE).expect("nobody maps it");
    let refused = client.ask_with(Command::DmaMap, &map_body(RW, 0, 0x10_0000, PAGE), &[sealed.as_fd()]);
    assert!(matches!(refused, Err(1 | EACCES)), "{refused:?}");
    assert!(client.ask_with(Command::DmaMap, &map_body(1, 0, 0x10_0000, PAGE), &[sealed.as_fd()]).is_ok());
    let dma = card.dma().expect("open");
    assert!(reaches(&dma, 0x10_0000) && dma.write(0x10_0000, &[1]).is_err());
}

#[test]
fn unmaps_take_whole_mappings_whatever_lies_between() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let (fd, dma) = (memfd(8), card.dma().expect("open"));
    for iova in [0x10_0000, 0x20_0000, 0x7fff_ffff_ffff_0000] {
        assert!(client.ask_with(Command::DmaMap, &map_body(RW, 0, iova, 4 * PAGE), &[fd.as_fd()]).is_ok());
    }
    let mut unmap =
        |flags, iova, size| client.ask(Command::DmaUnmap, &unmap_body(flags, iova, size)).map(drop);
    // A part of one: nothing changes.
    for (iova, size) in [(0x10_0000, PAGE), (0x10_1000, PAGE), (0x10_3000, 2 * PAGE), (0x0f_0000, 0x1_1000)] {
        assert_eq!(unmap(0, iova, size), Err(EINVAL), "{iova:#x}");
    }
    for (iova, size) in
        [(0x10_0000, 0), (0x10_0001, PAGE), (0x10_0000, 1), (u64::MAX, PAGE), (PAGE, u64::MAX)]
    {
        assert_eq!(unmap(0, iova, size), Err(EINVAL), "{iova:#x}");
    }
    assert!(reaches(&dma, 0x10_0000) && reaches(&dma, 0x10_3ffc));
    // Nothing is there: no error, for a virtual IOMMU asks like that.
    assert_eq!(unmap(0, 0x40_0000, PAGE), Ok(()));
    // More than one, to the end of all addresses, and everything.
    assert_eq!(unmap(0, 0x10_0000, 0x11_0000), Ok(()));
    assert!(!reaches(&dma, 0x10_0000) && !reaches(&dma, 0x20_0000) && reaches(&dma, 0x7fff_ffff_ffff_0000));
    assert_eq!(unmap(2, 0, PAGE), Err(EINVAL), "everything has no range");
    assert_eq!(unmap(0, 1 << 62, 0u64.wrapping_sub(1 << 62)), Ok(()));
    assert!(!reaches(&dma, 0x7fff_ffff_ffff_0000));
    assert_eq!(unmap(2, 0, 0), Ok(()));
}

#[test]
fn nothing_is_written_after_the_answer_to_an_unmap() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let (fd, dma) = (memfd(4), card.dma().expect("open"));
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopping, counting) = (stop.clone(), written.clone());
    let device = std::thread::spawn(move || {
        for round in 0_u64.. {
            if stopping.load(Ordering::Acquire) {
                break;
            }
            // Across pages, so that an access takes a while.
            if dma.write(0x10_0000 + 8, &[round as u8; 3 * PAGE as usize]).is_ok() {
                counting.fetch_add(1, Ordering::AcqRel);
            }
            let _ = dma.fetch_add_u64(0x10_0000 + 3 * PAGE, 1);
            let _ = dma.fill(0x10_0000, round as u8, PAGE);
        }
    });
    let (mut before, mut after) = (vec![0; 4 * PAGE as usize], vec![0; 4 * PAGE as usize]);
    let mut rounds = 0;
    while rounds < 50 {
        assert!(
            client.ask_with(Command::DmaMap, &map_body(RW, 0, 0x10_0000, 4 * PAGE), &[fd.as_fd()]).is_ok()
        );
        let seen = written.load(Ordering::Acquire);
        until("a write", || written.load(Ordering::Acquire) > seen);
        if rounds % 5 == 4 {
            assert!(client.ask(Command::DeviceReset, &[]).is_ok(), "a reset in the middle of it");
        }
        let (flags, iova, size) = if rounds % 2 == 0 { (0, 0x10_0000, 4 * PAGE) } else { (2, 0, 0) };
        assert!(client.ask(Command::DmaUnmap, &unmap_body(flags, iova, size)).is_ok());
        assert_eq!(pread(&fd, &mut before[..], 0), Ok(before.len()));
        std::thread::yield_now();
        assert_eq!(pread(&fd, &mut after[..], 0), Ok(after.len()));
        assert!(before == after, "written after the answer");
        rounds += 1;
    }
    stop.store(true, Ordering::Release);
    device.join().expect("the device never fails");
}

#[test]
fn memory_that_is_cut_short_is_no_memory_any_more() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let (fd, dma) = (memfd(4), card.dma().expect("open"));
    assert!(client.ask_with(Command::DmaMap, &map_body(RW, 0, 0x10_0000, 4 * PAGE), &[fd.as_fd()]).is_ok());
    assert!(dma.write(0x10_0000 + 3 * PAGE, &[1, 2, 3]).is_ok());
    ftruncate(&fd, PAGE).expect("nothing seals it");
    assert!(reaches(&dma, 0x10_0000));
    for at in [PAGE, 2 * PAGE, 4 * PAGE - 8] {
        let iova = 0x10_0000 + at;
        assert!(!reaches(&dma, iova) && dma.write(iova, &[1]).is_err() && dma.fill(iova, 1, 8).is_err());
        assert!(dma.fetch_add_u32(iova, 1).is_err() && dma.compare_exchange_u64(iova, 0, 1).is_err());
    }
    // Across the end, and by the device's own doing.
    assert!(dma.read(0x10_0000 + PAGE - 2, &mut [0; 4]).is_err());
    let address = (0x10_0000 + 2 * PAGE).to_le_bytes();
    assert!(client.ask(Command::RegionWrite, &write_body(0, 0, &address)).is_ok());
    // Nobody made the file longer; made longer again, it is memory again.
    assert_eq!(rustix::fs::fstat(&fd).map(|stat| stat.st_size), Ok(PAGE as i64));
    ftruncate(&fd, 4 * PAGE).expect("room");
    assert!(dma.write(0x10_0000 + 3 * PAGE, &[9]).is_ok());
    let mut back = [0];
    assert_eq!(pread(&fd, &mut back[..], 3 * PAGE), Ok(1));
    assert_eq!(back, [9]);
    assert!(client.ask(Command::DmaUnmap, &unmap_body(0, 0x10_0000, 4 * PAGE)).is_ok());
}

#[test]
fn only_what_is_mapped_is_touched() {
    let (card, _served, mut client) = served(ServerOptions::default());
    let (fd, dma) = (memfd(16), card.dma().expect("open"));
    let filled = vec![0xa5; 16 * PAGE as usize];
    assert_eq!(pwrite(&fd, &filled, 0), Ok(filled.len()));
    // Pages 4 and 5 to write, 8 and 9 to read.
    for (flags, page, iova) in [(RW, 4, 0x10_0000), (1, 8, 0x10_2000)] {
        assert!(
            client
                .ask_with(Command::DmaMap, &map_body(flags, page * PAGE, iova, 2 * PAGE), &[fd.as_fd()])
                .is_ok()
        );
    }
    for iova in (0x0f_e000..0x10_6000).step_by(0x7fc) {
        for len in [1, 8, 4096, 12_000] {
            let _ = dma.write(iova, &vec![0x5a; len]);
            let _ = dma.fill(iova, 0x5a, len as u64);
        }
        let _ = dma.fetch_add_u32(iova & !3, 1);
    }
    let mut now = filled.clone();
    assert_eq!(pread(&fd, &mut now[..], 0), Ok(now.len()));
    let (lent, rest) =
        (4 * PAGE as usize..6 * PAGE as usize, [0..4 * PAGE as usize, 6 * PAGE as usize..now.len()]);
    assert!(
        now[lent].contains(&0x5a)
            && rest.into_iter().all(|range| now[range].iter().all(|byte| *byte == 0xa5))
    );
}

#[test]
fn a_reset_and_an_unmap_do_not_wait_for_memory_that_is_being_asked_for() {
    let (card, _served, mut client) = served(ServerOptions::default());
    assert!(client.ask(Command::DmaMap, &map_body(RW, 0, 0x10_0000, PAGE)).is_ok());
    let address = 0x10_0010_u64.to_le_bytes();
    let id = client.post(Command::RegionWrite, &write_body(0, 0, &address), &[]);
    let mut frames = [client.receive().expect("a message"), client.receive().expect("another")];
    frames.sort_by_key(|frame| frame.header.command == Command::DmaRead as u16);
    let [reply, asked] = frames;
    assert!(parts::reply_to(id, reply).is_ok());
    assert!(client.ask(Command::DeviceReset, &[]).is_ok());
    assert!(client.ask(Command::DmaUnmap, &unmap_body(0, 0x10_0000, PAGE)).is_ok());
    assert!(!reaches(&card.dma().expect("open"), 0x10_0010));
    // Its answer comes all the same; what the device makes of it goes nowhere.
    client.answer(&asked, &dma_read_reply(&asked, 1));
    assert!(client.ask(Command::DeviceReset, &[]).is_ok());
}
