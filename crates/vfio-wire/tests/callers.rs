//! Several threads that use one device at once, with plain calls and without waiting.
#![cfg(target_os = "linux")]

mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parts::card::Card;
use parts::{Served, until};
use vfio_device::VfioDeviceOps;
use vfio_device::ops::complete;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;
use vfio_wire::client::{ClientOptions, Loan, connect};
use vfio_wire::server::ServerOptions;

#[test]
fn threads_take_turns_and_each_gets_its_own_answers() {
    let served = Served::new(Card::new(), ServerOptions::default());
    let device = connect(served.path(), &ClientOptions::default()).expect("a connection");
    let memory = Memory::memfd("lent", 4096).expect("memory");
    let loan =
        Loan { iova: 0, memory: memory.clone(), offset: 0, len: 4096, prot: Prot::RW, by_message: true };
    device.dma_map(&loan).expect("mapped");
    let submitted = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (device, submitted) = (device.clone(), submitted.clone());
            scope.spawn(move || {
                let at = 1024 + thread * 64;
                for round in 0..1000_u64 {
                    let value = (thread << 32 | round).to_le_bytes();
                    device.write(0, at, &value).expect("written");
                    let mut back = [0; 8];
                    device.read(0, at, &mut back).expect("read");
                    assert_eq!(back, value);
                    if round % 100 == 0 {
                        let counted = submitted.clone();
                        let done = complete(move |read: Result<Vec<u8>, Errno>| {
                            assert_eq!(read.map(|bytes| bytes.len()), Ok(8));
                            counted.fetch_add(1, Ordering::SeqCst);
                        });
                        device.submit_read(0, at, 8, done);
                    }
                }
            });
        }
        // Meanwhile the device reads and writes memory, which whoever receives serves.
        for count in 1..=50 {
            device.write(0, 0, &8_u64.to_le_bytes()).expect("started");
            until("the word", || memory.load_u32(8) == Ok(count));
        }
    });
    until("the answers that nobody waits for", || submitted.load(Ordering::SeqCst) == 40);
}

#[test]
fn a_server_that_goes_is_noticed_by_those_who_wait_and_by_nobody_else() {
    let mut served = Some(Served::new(Card::new(), ServerOptions::default()));
    let path = served.as_ref().expect("it runs").path().to_owned();
    let device = connect(&path, &ClientOptions::default()).expect("a connection");
    let told = Arc::new(AtomicUsize::new(0));
    let telling = told.clone();
    device.on_end(move |_| _ = telling.fetch_add(1, Ordering::SeqCst));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let end = Instant::now() + parts::LONG;
                while Instant::now() < end {
                    if let Err(errno) = device.read(0, 0, &mut [0; 4]) {
                        return assert_eq!(errno, Errno::ENOTCONN);
                    }
                }
                panic!("it goes on");
            });
        }
        std::thread::sleep(Duration::from_millis(50));
        drop(served.take());
    });
    until("the end", || told.load(Ordering::SeqCst) == 1);
    // Idle, without anybody's call.
    let served = Served::new(Card::new(), ServerOptions::default());
    let idle = connect(served.path(), &ClientOptions::default()).expect("a connection");
    idle.read(0, 0, &mut [0; 4]).expect("read");
    drop(served);
    until("the end", || !idle.is_open());
}
