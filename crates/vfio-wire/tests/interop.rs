//! The crate `vfio_user`, an implementation by others: its client against our server, our client against its server.
#![cfg(target_os = "linux")]

mod parts;

use std::fs::File;
use std::io::Error as IoError;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use parts::card::{AREA, Card, SPARSE, WHOLE};
use parts::{Folder, Served, event, fd_of, until};
use vfio_device::ops::{IrqData, IrqFd, IrqHeader, IrqSet};
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;
use vfio_user::{
    Client, DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion, SparseArea,
};
use vfio_wire::client::{ClientOptions, Loan, RemoteDevice, ask, connect};
use vfio_wire::server::ServerOptions;

const SET_EVENTS: u32 = 0x24;
const SET_NONE: u32 = 0x21;
const IOVA: u64 = 0x10_0000;

fn counted(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(event, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn its_client_drives_a_device_of_ours() {
    let card = Card::new();
    let served = Served::new(card.clone(), ServerOptions::default());
    let mut client = Client::new(served.path()).expect("a connection");

    // It learns of regions, of the memory behind them, and of interrupts.
    let whole = client.region(1).expect("there is one");
    assert_eq!((whole.size, whole.sparse_areas.len()), (WHOLE, 0));
    let file = whole.file_offset.as_ref().expect("it can be mapped");
    card.whole.write(16, b"behind").expect("inside");
    let mut seen = [0; 6];
    file.file().read_exact_at(&mut seen, file.start() + 16).expect("inside");
    assert_eq!(&seen, b"behind");
    let sparse = client.region(2).expect("there is one");
    assert_eq!(sparse.size, SPARSE);
    let [area] = sparse.sparse_areas[..] else { panic!("one area") };
    assert_eq!((area.offset, area.size), AREA);
    assert!(sparse.file_offset.is_some() && client.region(0).is_some_and(|it| it.file_offset.is_none()));
    let irq = client.get_irq_info(0).expect("an answer");
    assert_eq!((irq.index, irq.flags, irq.count), (0, 1, 4));
    // It says the opposite of what it was told.
    assert!(!client.resettable());

    // It reads and writes regions.
    client.region_write(0, 64, &[1, 2, 3, 4, 5]).expect("written");
    let mut back = [0; 5];
    client.region_read(0, 64, &mut back).expect("read");
    assert_eq!(back, [1, 2, 3, 4, 5]);
    client.region_write(2, AREA.0 + 8, b"part").expect("written");
    let mut part = [0; 4];
    card.part.read(8, &mut part).expect("inside");
    assert_eq!(&part, b"part");

    // It lends memory and is interrupted.
    let memory = Memory::memfd("lent", 8192).expect("memory");
    let lent = fd_of(&memory).as_raw_fd();
    client.dma_map(4096, IOVA, 4096, lent).expect("mapped");
    let events: Vec<OwnedFd> = (0..4).map(|_| event()).collect();
    let raw: Vec<_> = events.iter().map(AsRawFd::as_raw_fd).collect();
    client.set_irqs(0, SET_EVENTS, 0, 4, &raw).expect("set");
    memory.store_u32(4096 + 8, 41).expect("inside");
    client.region_write(0, 0, &(IOVA + 8).to_le_bytes()).expect("written");
    until("the interrupt", || counted(&events[0]) == 1);
    assert_eq!(memory.load_u32(4096 + 8), Ok(42));
    client.set_irqs(0, SET_NONE, 2, 1, &[]).expect("triggered");
    assert_eq!(counted(&events[2]), 1);
    client.set_irqs(0, SET_NONE, 0, 0, &[]).expect("let go");
    assert!(!card.has_vectors());

    // What it takes back is out of reach, and a reset clears the registers.
    client.dma_unmap(IOVA, 4096).expect("unmapped");
    let mut word = [0; 4];
    assert!(card.dma().expect("open").read(IOVA + 8, &mut word).is_err());
    client.reset().expect("reset");
    client.region_read(0, 64, &mut back).expect("read");
    assert_eq!(back, [0; 5]);
    client.shutdown().expect("open");
    until("the end", || !card.has_vectors() && card.dma().is_none());
}

/// What the other's server was asked.
#[derive(Default)]
struct Asked {
    registers: Vec<u8>,
    maps: Vec<(u64, u64, u64, bool)>,
    file: Option<File>,
    events: Vec<File>,
    irqs: Vec<(u32, u32, u32)>,
    resets: usize,
}

struct Backend(Arc<Mutex<Asked>>);

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        if region != 0 {
            return Err(IoError::from_raw_os_error(5));
        }
        let at = offset as usize;
        data.copy_from_slice(&self.0.lock().registers[at..at + data.len()]);
        Ok(())
    }
    fn region_write(&mut self, _region: u32, offset: u64, data: &[u8]) -> Result<(), IoError> {
        let at = offset as usize;
        self.0.lock().registers[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> Result<(), IoError> {
        assert_eq!(flags, DmaMapFlags::READ_WRITE);
        let mut asked = self.0.lock();
        asked.maps.push((offset, address, size, fd.is_some()));
        asked.file = fd;
        Ok(())
    }
    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, address: u64, size: u64) -> Result<(), IoError> {
        self.0.lock().maps.retain(|map| (map.1, map.2) != (address, size));
        Ok(())
    }
    fn reset(&mut self) -> Result<(), IoError> {
        let mut asked = self.0.lock();
        asked.registers.fill(0);
        asked.resets += 1;
        Ok(())
    }
    fn set_irqs(
        &mut self,
        _index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> Result<(), IoError> {
        let mut asked = self.0.lock();
        asked.irqs.push((flags, start, count));
        asked.events.extend(fds);
        Ok(())
    }
}

/// A server of the other's, with its thread, which ends with its client.
struct Others {
    asked: Arc<Mutex<Asked>>,
    memory: Memory,
    device: RemoteDevice,
    thread: JoinHandle<()>,
    _folder: Folder,
}

impl Others {
    fn new() -> Self {
        let folder = Folder::new();
        let memory = Memory::memfd("region", 0x4000).expect("memory");
        let region = |index: u32, flags: u32, size: u64, areas: &[(u64, u64)], fd: Option<i32>| {
            let mut info =
                ServerRegion { region_info: Default::default(), sparse_areas: Vec::new(), mmap_fd: fd };
            (info.region_info.argsz, info.region_info.index) = (32, index);
            (info.region_info.flags, info.region_info.size) = (flags, size);
            for (offset, size) in areas {
                let mut area = SparseArea { area: Default::default() };
                (area.area.offset, area.area.size) = (*offset, *size);
                info.sparse_areas.push(area);
            }
            info
        };
        let fd = Some(fd_of(&memory).as_raw_fd());
        let regions = vec![region(0, 3, 4096, &[], None), region(1, 7, 0x4000, &[(0x1000, 0x2000)], fd)];
        let irqs = vec![IrqInfo { index: 0, flags: 1, count: 3 }];
        let server = Server::new(&folder.socket(), true, irqs, regions).expect("a server");
        let asked = Arc::new(Mutex::new(Asked { registers: vec![0; 4096], ..Asked::default() }));
        let mut backend = Backend(asked.clone());
        // It ends when the client has gone; how it calls that is its own business.
        let thread = std::thread::spawn(move || drop(server.run(&mut backend)));
        let device = connect(&folder.socket(), &ClientOptions::default()).expect("a connection");
        Self { asked, memory, device, thread, _folder: folder }
    }

    fn end(self) {
        self.device.close();
        self.thread.join().expect("it ends");
    }
}

#[test]
fn our_client_drives_a_device_of_its() {
    let others = Others::new();
    let Others { asked, memory, device, .. } = &others;
    assert_eq!((device.minor(), device.server().max_msg_fds), (0, 1));
    let info = device.call(ask::info()).expect("an answer");
    assert_eq!((info.flags, info.num_regions, info.num_irqs), (3, 2, 1));
    assert_eq!(device.irq_info(0).expect("an answer").count, 3);
    assert_eq!(device.irq_info(1), Err(Errno::EINVAL));

    // Regions, and memory behind a part of one.
    device.write(0, 100, &[9, 8, 7]).expect("written");
    let mut back = [0; 3];
    device.read(0, 100, &mut back).expect("read");
    assert_eq!(back, [9, 8, 7]);
    let region = device.query_region(1).expect("an answer");
    let [area] = &region.memory[..] else { panic!("one area") };
    assert_eq!((area.offset, area.len), (0x1000, 0x2000));
    memory.store_u32(0x1010, 0xbeef).expect("inside");
    assert_eq!(area.memory.load_u32(0x10), Ok(0xbeef));
    // It refuses what it cannot do without saying why.
    assert_eq!(device.read(1, 0, &mut back), Err(Errno::EIO));

    // Memory by its descriptor.
    let lent = Memory::memfd("lent", 8192).expect("memory");
    let loan =
        Loan { iova: IOVA, memory: lent.clone(), offset: 4096, len: 4096, prot: Prot::RW, by_message: false };
    device.dma_map(&loan).expect("mapped");
    assert_eq!(asked.lock().maps, [(4096, IOVA, 4096, true)]);
    let file = asked.lock().file.take().expect("it came");
    file.write_all_at(&7_u32.to_le_bytes(), 4096 + 4).expect("inside");
    assert_eq!(lent.load_u32(4096 + 4), Ok(7));
    device.dma_unmap(IOVA, 4096).expect("unmapped");
    assert!(asked.lock().maps.is_empty());

    // Interrupts: it takes one descriptor with a message, so three go in three.
    let events: Vec<EventFd> = (0..3).map(|_| EventFd::new(0).expect("an eventfd")).collect();
    let header = IrqHeader { argsz: 32, flags: SET_EVENTS, index: 0, start: 0, count: 3 };
    let data = IrqData::EventFds(events.iter().cloned().map(IrqFd::Fd).collect());
    device.set_irqs(&IrqSet { header, data }).expect("set");
    assert_eq!(asked.lock().irqs, [(SET_EVENTS, 0, 3), (SET_EVENTS, 1, 1), (SET_EVENTS, 2, 1)]);
    for (file, event) in asked.lock().events.iter().zip(&events) {
        rustix::io::write(file, &1_u64.to_ne_bytes()).expect("an eventfd");
        assert_eq!(event.read(), Some(1));
    }
    let header = IrqHeader { argsz: 20, flags: SET_NONE, count: 0, ..header };
    device.set_irqs(&IrqSet { header, data: IrqData::None }).expect("let go");

    device.reset().expect("reset");
    assert_eq!(asked.lock().resets, 1);
    device.read(0, 100, &mut back).expect("read");
    assert_eq!(back, [0; 3]);
    others.end();
}
