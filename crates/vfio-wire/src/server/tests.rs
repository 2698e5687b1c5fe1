//! The server against real sockets: a well-behaved client, and hostile ones.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{DeviceInfo, IrqInfo, IrqSet, RegionInfo};
use vfio_iommu::DmaSpace;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;

use super::*;
use crate::client::{ClientOptions, Loan, connect};
use crate::message::{Command, Header, Kind, RegionAccess, SetIrqsBody};

/// A device with one region of 4 KiB; writing an address to its first eight bytes has it add one to the word there.
#[derive(Default)]
struct Adder {
    registers: Mutex<Vec<u8>>,
    dma: Mutex<Option<Arc<dyn DmaSpace>>>,
    opened: AtomicUsize,
    resets: AtomicUsize,
    irqs: Mutex<Vec<IrqSet>>,
}

impl Adder {
    fn new() -> Arc<Self> {
        let adder = Self::default();
        adder.registers.lock().resize(4096, 0);
        Arc::new(adder)
    }

    fn add(&self, iova: u64) {
        let dma = self.dma.lock().clone().expect("open");
        let again = dma.clone();
        dma.submit_read(
            iova,
            4,
            Box::new(move |read| {
                if let Ok(bytes) = read {
                    let value = u32::from_le_bytes(bytes.try_into().expect("four bytes")).wrapping_add(1);
                    again.submit_write(iova, value.to_le_bytes().to_vec(), Box::new(|_| {}));
                }
            }),
        );
    }
}

impl VfioDeviceOps for Adder {
    fn name(&self) -> &str {
        "adder"
    }
    fn open_device(&self, dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        *self.dma.lock() = dma;
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn close_device(&self) {
        *self.dma.lock() = None;
        self.irqs.lock().clear();
        self.opened.fetch_sub(1, Ordering::SeqCst);
    }
    fn set_dma(&self, dma: Option<Arc<dyn DmaSpace>>) {
        *self.dma.lock() = dma;
    }
    fn info(&self) -> DeviceInfo {
        DeviceInfo { flags: 1, num_regions: 2, num_irqs: 1, capabilities: Vec::new() }
    }
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        match index {
            0 => Ok(RegionInfo { flags: 3, size: 4096, ..RegionInfo::default() }),
            1 => Ok(RegionInfo::default()),
            _ => Err(Errno::EINVAL),
        }
    }
    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        if index == 0 { Ok(IrqInfo { flags: 1, count: 4 }) } else { Err(Errno::EINVAL) }
    }
    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        if let vfio_device::ops::IrqData::EventFds(entries) = &request.data {
            for entry in entries {
                entry.event()?;
            }
        }
        self.irqs.lock().push(request.clone());
        Ok(())
    }
    fn reset(&self) -> Result<(), Errno> {
        self.registers.lock().fill(0);
        self.resets.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn read(&self, _region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let at = offset as usize;
        into.copy_from_slice(&self.registers.lock()[at..at + into.len()]);
        Ok(into.len())
    }
    fn write(&self, _region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let at = offset as usize;
        self.registers.lock()[at..at + from.len()].copy_from_slice(from);
        if at == 0 && from.len() == 8 {
            self.add(u64::from_le_bytes(from.try_into().expect("eight bytes")));
        }
        Ok(from.len())
    }
}

/// A served device in a folder of its own, both gone at the end.
struct Served {
    device: Arc<Adder>,
    server: Server,
    folder: PathBuf,
}

impl Served {
    fn new(options: ServerOptions) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("vfio-served-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        let device = Adder::new();
        let server =
            Server::start(device.clone(), &folder.join("s"), options, Arc::new(|_| {})).expect("a server");
        Self { device, server, folder }
    }

    fn quick() -> Self {
        Self::new(ServerOptions { patience: Duration::from_millis(500), ..ServerOptions::default() })
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.server.path()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream
    }

    /// A client that has introduced itself.
    fn introduced(&self) -> UnixStream {
        let mut stream = self.raw();
        stream.write_all(&request(1, Command::Version as u16, &[0, 0, 0, 0])).expect("open");
        let (header, _) = reply(&mut stream).expect("a reply");
        assert_eq!(header.kind, Kind::Reply { error: None });
        stream
    }

    fn until_closed(&self) {
        for _ in 0..500 {
            if self.device.opened.load(Ordering::SeqCst) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the device is still open");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.join();
        assert_eq!(self.device.opened.load(Ordering::SeqCst), 0);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn request(id: u16, command: u16, body: &[u8]) -> Vec<u8> {
    Header::message(id, command, Kind::Request { no_reply: false }, body)
}

fn reply(stream: &mut UnixStream) -> std::io::Result<(Header, Vec<u8>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let header = Header::read(&head).expect("a header");
    let mut body = vec![0; header.size as usize - 16];
    stream.read_exact(&mut body)?;
    Ok((header, body))
}

#[test]
fn a_client_reads_writes_and_lends_memory_either_way() {
    let served = Served::quick();
    let device = connect(served.server.path(), &ClientOptions::default()).expect("a connection");
    assert_eq!(device.call(crate::client::ask::info()).expect("an answer").num_regions, 2);
    let memory = Memory::memfd("lent", 8192).expect("memory");
    let loan = Loan {
        iova: 0x1000,
        memory: memory.clone(),
        offset: 0,
        len: 4096,
        prot: Prot::RW,
        by_message: false,
    };
    device.dma_map(&loan).expect("mapped");
    device.dma_map(&Loan { iova: 0x9000, offset: 4096, by_message: true, ..loan }).expect("mapped");
    for (iova, at) in [(0x1010_u64, 0x10_u64), (0x9020, 4096 + 0x20)] {
        memory.store_u32(at, 41).expect("inside");
        assert_eq!(device.write(0, 0, &iova.to_le_bytes()), Ok(8));
        let mut seen = 0;
        for _ in 0..500 {
            seen = memory.load_u32(at).expect("inside");
            if seen == 42 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(seen, 42);
    }
    let mut back = [0; 8];
    assert_eq!(device.read(0, 0, &mut back), Ok(8));
    assert_eq!(u64::from_le_bytes(back), 0x9020);
    device.dma_unmap(0x1000, 4096).expect("unmapped");
    memory.store_u32(0x10, 7).expect("inside");
    device.write(0, 0, &0x1010_u64.to_le_bytes()).expect("written");
    device.reset().expect("reset");
    assert_eq!(memory.load_u32(0x10), Ok(7), "unmapped memory is out of reach");
    device.close();
    served.until_closed();
    assert!(served.device.resets.load(Ordering::SeqCst) >= 1);
}

#[test]
fn state_is_kept_where_that_was_asked_for() {
    let served = Served::new(ServerOptions { keep_state: true, ..ServerOptions::default() });
    let device = connect(served.server.path(), &ClientOptions::default()).expect("a connection");
    device.write(0, 64, &[1, 2, 3, 4]).expect("written");
    drop(device);
    served.until_closed();
    let again = connect(served.server.path(), &ClientOptions::default()).expect("another connection");
    let mut back = [0; 4];
    again.read(0, 64, &mut back).expect("read");
    assert_eq!(back, [1, 2, 3, 4]);
    assert_eq!(served.device.resets.load(Ordering::SeqCst), 0);
}

#[test]
fn accesses_outside_a_region_are_refused_and_the_connection_goes_on() {
    let served = Served::quick();
    let mut stream = served.introduced();
    let cases = [
        (0, 4096, 1),
        (0, 4095, 2),
        (0, u64::MAX, 1),
        (0, u64::MAX, 2),
        (0, 0, 0),
        (0, 0, u32::MAX),
        (1, 0, 1),
        (7, 0, 1),
        (u32::MAX, 0, 4),
    ];
    for (id, (region, offset, count)) in cases.into_iter().enumerate() {
        let mut body = Vec::new();
        RegionAccess { offset, region, count }.write(&mut body);
        stream.write_all(&request(id as u16, Command::RegionRead as u16, &body)).expect("open");
        let (header, _) = reply(&mut stream).expect("a reply");
        assert_eq!((header.id, header.kind), (id as u16, Kind::Reply { error: Some(22) }));
    }
}

#[test]
fn unknown_commands_late_versions_and_short_bodies_get_an_errno() {
    let served = Served::quick();
    let mut stream = served.introduced();
    for command in [0, 19, 0xffff] {
        stream.write_all(&request(5, command, &[])).expect("open");
        assert_eq!(reply(&mut stream).expect("a reply").0.kind, Kind::Reply { error: Some(38) });
    }
    for command in 1..=13 {
        for len in [0, 1, 15, 16, 40] {
            if command == Command::DeviceReset as u16 && len == 0 {
                continue;
            }
            stream.write_all(&request(6, command, &vec![0; len])).expect("open");
            let (header, _) = reply(&mut stream).expect("a reply");
            assert!(matches!(header.kind, Kind::Reply { error: Some(_) }), "command {command}, {len} bytes");
        }
    }
}

#[test]
fn a_client_that_goes_wrong_is_closed_and_the_next_one_served() {
    let served = Served::quick();
    let attacks: [&[u8]; 7] = [
        &request(1, Command::DeviceGetInfo as u16, &[0; 16]),
        &request(1, Command::Version as u16, b"\0\0\x09\0{}\0"),
        &request(1, Command::Version as u16, b"\0\0\0\0{"),
        &request(1, Command::Version as u16, b"\x01\0\0\0{}\0"),
        &[0; 16],
        &[0xff; 64],
        &[1, 2, 3],
    ];
    for attack in attacks {
        let mut stream = served.raw();
        stream.write_all(attack).expect("open");
        let mut rest = Vec::new();
        // Closed at once, or when patience ends; a reply may come first.
        let _ = stream.read_to_end(&mut rest);
    }
    let mut stream = served.introduced();
    stream.write_all(&Header::message(99, 4, Kind::Reply { error: None }, &[])).expect("open");
    assert_eq!(stream.read(&mut [0; 16]).expect("closed"), 0, "a reply that nobody waits for");
    drop(served.introduced());
}

#[test]
fn a_close_after_every_byte_leaves_nothing_behind() {
    let served = Served::quick();
    let mut body = Vec::new();
    RegionAccess { offset: 0, region: 0, count: 8 }.write(&mut body);
    body.extend_from_slice(&[0; 8]);
    let whole =
        [request(1, Command::Version as u16, &[0, 0, 0, 0]), request(2, Command::RegionWrite as u16, &body)]
            .concat();
    let before = open_descriptors();
    for end in 0..whole.len() {
        let mut stream = served.raw();
        stream.write_all(&whole[..end]).expect("open");
    }
    drop(served.introduced());
    served.until_closed();
    assert!(open_descriptors() <= before + 4, "descriptors leaked");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn descriptors_that_are_no_eventfd_or_too_many_are_refused() {
    let served = Served::quick();
    let stream = served.introduced();
    let socket = crate::socket::Socket::new(stream, 4096, Duration::from_secs(1));
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    let input = std::io::stdin();
    let ask = |count: u32, fds: &[std::os::fd::BorrowedFd<'_>]| {
        let mut body = Vec::new();
        SetIrqsBody { argsz: 20, flags: 0x24, index: 0, start: 0, count }.write(&mut body);
        socket.send(&request(3, Command::DeviceSetIrqs as u16, &body), fds).expect("open");
        socket.receive().expect("a reply").header.kind
    };
    assert_eq!(ask(1, &[event.as_fd()]), Kind::Reply { error: None });
    assert_eq!(ask(2, &[event.as_fd()]), Kind::Reply { error: None }, "the second is let go");
    assert_eq!(ask(1, &[input.as_fd()]), Kind::Reply { error: Some(22) });
    assert_eq!(ask(1, &[event.as_fd(), event.as_fd()]), Kind::Reply { error: Some(22) });
    assert_eq!(ask(5, &[]), Kind::Reply { error: Some(22) });
    assert_eq!(served.device.irqs.lock().len(), 2);
}

#[test]
fn thousands_of_connections_come_and_go() {
    let served = Served::quick();
    for _ in 0..2_000 {
        drop(UnixStream::connect(served.server.path()));
    }
    drop(served.introduced());
}

#[test]
fn senseless_options_are_refused() {
    let options = ServerOptions { max_msg_fds: 17, ..ServerOptions::default() };
    let path = std::env::temp_dir().join("vfio-wire-never");
    let refused = Server::start(Adder::new(), &path, options, Arc::new(|_| {}));
    assert_eq!(refused.err(), Some(Errno::EINVAL));
}
