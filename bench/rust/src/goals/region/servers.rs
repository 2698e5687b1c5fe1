//! Servers, each a process.

use std::fs::File;
use std::io::{Error as IoError, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use vfio_device::ops::{DeviceInfo, IrqData, IrqInfo, IrqSet, RegionInfo};
use vfio_device::pci::Doorbell;
use vfio_device::{EventFd, Subscription, VfioDeviceOps};
use vfio_uapi::Errno;
use vfio_user::{
    DmaMapFlags, DmaUnmapFlags, IrqInfo as TheirIrq, Server as TheirServer, ServerBackend, ServerRegion,
};
use vfio_wire::server::{Server, ServerOptions};

use super::{WIDTH, clients};

/// What every read gives.
const ANSWER: [u8; WIDTH] = [1, 0, 0, 0];
const REGION: u64 = 4096;

/// Serves at `path`, on one processor, until the process is ended.
pub fn serve(kind: &str, path: &Path, processor: &str) {
    super::stay_on(processor.parse().expect("a number"));
    match kind {
        "stream" => stream(path),
        "events" => events(path),
        "vfio" => ours(path),
        "crate" => theirs(path),
        _ => panic!("no server {kind}"),
    }
}

/// Takes as many bytes as a read's request has and gives as many as its reply.
fn stream(path: &Path) {
    let (mut stream, _) = UnixListener::bind(path).expect("a socket").accept().expect("a client");
    let (mut request, mut reply) = ([0; clients::REQUEST], [0; clients::REPLY]);
    reply[clients::REPLY - WIDTH..].copy_from_slice(&ANSWER);
    while stream.read_exact(&mut request).is_ok() && stream.write_all(&reply).is_ok() {}
}

/// Signals one event when the other was.
fn events(path: &Path) {
    let (stream, _) = UnixListener::bind(path).expect("a socket").accept().expect("a client");
    let [bell, interrupt] = clients::receive_events(&stream);
    let mut count = [0; 8];
    while (&bell).read_exact(&mut count).is_ok() {
        (&interrupt).write_all(&1_u64.to_ne_bytes()).expect("room");
    }
}

/// A register that is read, one that is a doorbell, and one that is written by messages; both trigger the interrupt.
struct Device {
    bell: EventFd,
    interrupt: Arc<Mutex<Option<EventFd>>>,
    _heard: Subscription,
}

impl Device {
    fn new() -> Arc<Self> {
        let bell = EventFd::new(0).expect("an eventfd");
        let interrupt: Arc<Mutex<Option<EventFd>>> = Arc::default();
        let (counter, triggered) = (bell.clone(), interrupt.clone());
        let heard = bell.subscribe(move |_| {
            if counter.read().is_some() {
                trigger(&triggered);
            }
        });
        Arc::new(Self { bell, interrupt, _heard: heard.expect("it can be watched") })
    }
}

fn trigger(interrupt: &Mutex<Option<EventFd>>) {
    if let Some(event) = &*interrupt.lock().expect("nobody panics") {
        event.signal(1);
    }
}

impl VfioDeviceOps for Device {
    fn name(&self) -> &str {
        "register"
    }
    fn info(&self) -> DeviceInfo {
        DeviceInfo { flags: 2, num_regions: 1, num_irqs: 1, capabilities: Vec::new() }
    }
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        if index == 0 {
            Ok(RegionInfo { flags: 3, size: REGION, ..RegionInfo::default() })
        } else {
            Err(Errno::EINVAL)
        }
    }
    fn doorbells(&self, _region: u32) -> Vec<Doorbell> {
        vec![Doorbell { offset: clients::BELL, width: WIDTH as u8, value: None, event: self.bell.clone() }]
    }
    fn irq_info(&self, _index: u32) -> Result<IrqInfo, Errno> {
        Ok(IrqInfo { flags: 1, count: 1 })
    }
    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        if let IrqData::EventFds(entries) = &request.data {
            *self.interrupt.lock().expect("nobody panics") = entries[0].event()?.cloned();
        }
        Ok(())
    }
    fn read(&self, _region: u32, _offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        into.copy_from_slice(&ANSWER[..into.len()]);
        Ok(into.len())
    }
    fn read_now(&self, region: u32, offset: u64, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        Some(self.read(region, offset, into))
    }
    fn write_now(&self, region: u32, offset: u64, from: &[u8]) -> Option<Result<usize, Errno>> {
        Some(self.write(region, offset, from))
    }
    fn write(&self, _region: u32, _offset: u64, from: &[u8]) -> Result<usize, Errno> {
        trigger(&self.interrupt);
        Ok(from.len())
    }
}

fn ours(path: &Path) {
    let server =
        Server::start(Device::new(), path, ServerOptions::default(), Arc::new(|_| {})).expect("a server");
    // Until the process is ended.
    let _ = std::io::stdin().read(&mut [0]);
    server.join();
}

struct Backend;

impl ServerBackend for Backend {
    fn region_read(&mut self, _region: u32, _offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.copy_from_slice(&ANSWER[..data.len()]);
        Ok(())
    }
    fn region_write(&mut self, _region: u32, _offset: u64, _data: &[u8]) -> Result<(), IoError> {
        Ok(())
    }
    fn dma_map(&mut self, _: DmaMapFlags, _: u64, _: u64, _: u64, _: Option<File>) -> Result<(), IoError> {
        Ok(())
    }
    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> Result<(), IoError> {
        Ok(())
    }
    fn reset(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn set_irqs(&mut self, _: u32, _: u32, _: u32, _: u32, _: Vec<File>) -> Result<(), IoError> {
        Ok(())
    }
}

fn theirs(path: &Path) {
    let mut region =
        ServerRegion { region_info: Default::default(), sparse_areas: Vec::new(), mmap_fd: None };
    (region.region_info.argsz, region.region_info.flags, region.region_info.size) = (32, 3, REGION);
    let irqs = vec![TheirIrq { index: 0, flags: 1, count: 1 }];
    let server = TheirServer::new(path, false, irqs, vec![region]).expect("a server");
    server.run(&mut Backend).expect("a client that behaves");
}
