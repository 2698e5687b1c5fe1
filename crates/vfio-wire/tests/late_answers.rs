//! Devices whose answers wait for the client's memory, and clients that do not serve their memory while they wait for an
//! answer, as QEMU does not.
#![cfg(target_os = "linux")]

mod parts;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parts::{Raw, Served, dma_read_reply, map_body, read_body, reply_to, until, write_body};
use vfio_device::VfioDeviceOps;
use vfio_device::ops::{Completion, DeviceInfo, IrqInfo, IrqSet, RegionInfo};
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;
use vfio_wire::message::{Command, Kind};
use vfio_wire::server::ServerOptions;

const EDEADLK: u32 = 35;
const IOVA: u64 = 0x1000;

/// Fetches the word at [`IOVA`] for every access, and answers when it has come. Offset 8 answers only when told to.
#[derive(Default)]
struct Fetcher {
    dma: Mutex<Option<Arc<dyn DmaSpace>>>,
    fetched: Arc<Mutex<Vec<u32>>>,
    held: Mutex<Vec<Completion<usize>>>,
}

impl Fetcher {
    fn fetch(&self, done: impl FnOnce(Result<u32, Errno>) + Send + 'static) {
        let dma = self.dma.lock().clone().expect("open");
        let fetched = self.fetched.clone();
        let answered = move |read: Result<Vec<u8>, vfio_iommu::DmaFault>| {
            let word = read.map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
            fetched.lock().extend(word.as_ref().ok());
            done(word.map_err(|fault| fault.errno()));
        };
        dma.submit_read(IOVA, 4, Box::new(answered));
    }
}

impl VfioDeviceOps for Fetcher {
    fn name(&self) -> &str {
        "fetcher"
    }
    fn open_device(&self, dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        *self.dma.lock() = dma;
        Ok(())
    }
    fn close_device(&self) {
        *self.dma.lock() = None;
        self.held.lock().clear();
    }
    fn info(&self) -> DeviceInfo {
        DeviceInfo { flags: 0, num_regions: 1, num_irqs: 0, capabilities: Vec::new() }
    }
    fn region_info(&self, _index: u32) -> Result<RegionInfo, Errno> {
        Ok(RegionInfo { flags: 3, size: 64, ..RegionInfo::default() })
    }
    fn irq_info(&self, _index: u32) -> Result<IrqInfo, Errno> {
        Err(Errno::EINVAL)
    }
    fn set_irqs(&self, _request: &IrqSet) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
    fn submit_read(&self, _region: u32, _offset: u64, _len: usize, done: Completion<Vec<u8>>) {
        self.fetch(move |word| done(word.map(|word| word.to_le_bytes().to_vec())));
    }
    fn submit_write(&self, _region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        if offset == 8 {
            return self.held.lock().push(done);
        }
        self.fetch(move |word| done(word.map(|_| from.len())));
    }
}

fn served() -> (Arc<Fetcher>, Served, Raw) {
    let device = Arc::new(Fetcher::default());
    let served = Served::new(device.clone(), ServerOptions::default());
    let mut client = Raw::introduced(served.path());
    client.ask(Command::DmaMap, &map_body(3, 0, IOVA, 4096)).expect("mapped without a descriptor");
    (device, served, client)
}

#[test]
fn a_write_is_acknowledged_before_the_memory_that_it_needs_is_served() {
    let (device, _served, mut client) = served();
    let id = client.post(Command::RegionWrite, &write_body(0, 0, &[1; 4]), &[]);
    let mut frames = [client.receive().expect("a message"), client.receive().expect("another")];
    frames.sort_by_key(|frame| matches!(frame.header.kind, Kind::Request { .. }));
    let [reply, asked] = frames;
    assert_eq!(reply_to(id, reply).expect("written"), read_body(0, 0, 4));
    client.answer(&asked, &dma_read_reply(&asked, 0xfeed));
    until("the word", || *device.fetched.lock() == [0xfeed]);
}

#[test]
fn a_write_that_comes_while_memory_is_being_asked_for_is_acknowledged_too() {
    let (device, _served, mut client) = served();
    let first = client.post(Command::RegionWrite, &write_body(0, 0, &[1; 4]), &[]);
    let mut asked = None;
    for _ in 0..2 {
        let frame = client.receive().expect("a message");
        match frame.header.kind {
            Kind::Request { .. } => asked = Some(frame),
            Kind::Reply { .. } => assert!(reply_to(first, frame).is_ok()),
        }
    }
    assert_eq!(client.ask(Command::RegionWrite, &write_body(0, 8, &[1; 4])), Ok(read_body(0, 8, 4)));
    let mut many = 2_u64.to_ne_bytes().to_vec();
    for _ in 0..2 {
        many.extend_from_slice(&write_body(0, 8, &[1; 8]));
    }
    assert_eq!(client.ask(Command::RegionWriteMulti, &many), Ok(2_u64.to_ne_bytes().to_vec()));
    let asked = asked.expect("a request of the server's");
    client.answer(&asked, &dma_read_reply(&asked, 7));
    until("the word", || *device.fetched.lock() == [7]);
    // What the device says later reaches nobody.
    for done in device.held.lock().drain(..) {
        done(Err(Errno::EIO));
    }
    let id = client.post(Command::RegionWrite, &write_body(0, 8, &[1; 4]), &[]);
    until("the write", || !device.held.lock().is_empty());
    for done in device.held.lock().drain(..) {
        done(Err(Errno::EBUSY));
    }
    let frame = client.receive().expect("a reply");
    assert_eq!(reply_to(id, frame), Err(Errno::EBUSY.code() as u32), "nothing of ours is under way");
}

#[test]
fn a_read_that_needs_memory_of_a_client_that_waits_for_it_is_refused() {
    let (device, _served, mut client) = served();
    let id = client.post(Command::RegionRead, &read_body(0, 0, 4), &[]);
    let asked = client.receive().expect("a request");
    assert_eq!(asked.header.command, Command::DmaRead as u16);
    let frame = client.receive().expect("a reply");
    assert_eq!(reply_to(id, frame), Err(EDEADLK));
    client.answer(&asked, &dma_read_reply(&asked, 9));
    until("the word", || *device.fetched.lock() == [9]);
    // A client that does serve its memory meanwhile gets its data.
    let id = client.post(Command::RegionRead, &read_body(0, 0, 4), &[]);
    let asked = client.receive().expect("a request");
    client.answer(&asked, &dma_read_reply(&asked, 5));
    let frame = client.receive().expect("a reply");
    assert_eq!(reply_to(id, frame).expect("data")[16..], 5_u32.to_le_bytes());
}

#[test]
fn memory_that_is_never_served_fails_the_access_in_time() {
    let device = Arc::new(Fetcher::default());
    let options = ServerOptions { patience: Duration::from_millis(200), ..ServerOptions::default() };
    let served = Served::new(device.clone(), options);
    let mut client = Raw::introduced(served.path());
    client.ask(Command::DmaMap, &map_body(3, 0, IOVA, 4096)).expect("mapped");
    let (sender, receiver) = std::sync::mpsc::channel();
    // On a thread that is not the server's, which learns of it by itself.
    device.fetch(move |word| sender.send(word).expect("waited for"));
    assert!(receiver.recv_timeout(parts::LONG).expect("an end").is_err());
}
