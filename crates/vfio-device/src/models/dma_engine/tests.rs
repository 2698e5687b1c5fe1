//! A driver with a ring in memory of its own.

use std::sync::Arc;

use vfio_iommu::{DmaSpace, IoPageTable, IovaRange};
use vfio_memory::{Memory, Prot};

use super::crc32c::Crc32c;
use super::*;
use crate::pci::registers::{COMMAND, COMMAND_MASTER, COMMAND_MEMORY};

const RING: u64 = 0x1_0000;
const DATA: u64 = 0x10_0000;
const OTHER: u64 = 0x20_0000;
const SIZE: u64 = 0x40_0000;

/// An engine that runs, and the memory it sees from address 0 on.
struct Rig {
    function: Arc<PciFunction>,
    memory: Memory,
}

impl Rig {
    fn new() -> Self {
        let function = DmaEngine::function(DmaEngineConfig::new("engine")).expect("a function");
        let memory = Memory::anonymous(SIZE).expect("memory");
        let table = IoPageTable::new();
        let range = IovaRange::sized(0, SIZE).expect("a range");
        table.map(range, &memory, 0, Prot::RW).expect("nothing is mapped");
        let space: Arc<dyn DmaSpace> = Arc::new(table);
        function.dma().attach(Some(space));
        function.config_write(COMMAND, &(COMMAND_MEMORY | COMMAND_MASTER).to_le_bytes());
        let rig = Self { function, memory };
        rig.write(RING_LOW, RING as u32);
        rig.write(ENTRIES, 8);
        rig.write(CONTROL, RUN);
        rig
    }

    fn write(&self, register: u64, value: u32) {
        self.function.bar_write(0, register, &value.to_le_bytes()).expect("a register");
    }

    fn read(&self, register: u64) -> u32 {
        let mut word = [0; 4];
        self.function.bar_read(0, register, &mut word).expect("a register");
        u32::from_le_bytes(word)
    }

    fn put(&self, entry: u64, operation: u8, len: u32, source: u64, destination: u64, pattern: u64) {
        let mut bytes = vec![operation, 0, 0, 0];
        bytes.extend(len.to_le_bytes());
        [source, destination, pattern].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        self.memory.write(RING + entry * 32, &bytes).expect("inside");
    }

    /// Returns status and result of an entry.
    fn outcome(&self, entry: u64) -> (u16, u64) {
        let (mut status, mut result) = ([0; 2], [0; 8]);
        self.memory.read(RING + entry * 32 + 2, &mut status).expect("inside");
        self.memory.read(RING + entry * 32 + 24, &mut result).expect("inside");
        (u16::from_le_bytes(status), u64::from_le_bytes(result))
    }
}

#[test]
fn fills_copies_compares_and_checksums() {
    let rig = Rig::new();
    rig.put(0, 2, 40_000, 0, DATA, 0x0807_0605_0403_0201);
    rig.put(1, 1, 40_000, DATA, OTHER, 0);
    rig.put(2, 3, 40_000, DATA, OTHER, 0);
    rig.put(3, 4, 40_000, OTHER, 0, 0);
    rig.write(TAIL, 4);
    assert_eq!((rig.read(HEAD), rig.read(DONE_LOW)), (4, 4));
    let mut bytes = vec![0; 40_000];
    rig.memory.read(OTHER, &mut bytes).expect("inside");
    assert!(bytes.iter().zip(0_usize..).all(|(byte, at)| usize::from(*byte) == at % 8 + 1));
    let mut crc = Crc32c::default();
    crc.add(&bytes);
    assert_eq!((0..3).map(|entry| rig.outcome(entry).0).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(rig.outcome(3), (1, crc.value().into()));

    rig.memory.write(OTHER + 20_001, &[0]).expect("inside");
    rig.put(4, 3, 40_000, DATA, OTHER, 0);
    rig.write(TAIL, 5);
    assert_eq!(rig.outcome(4), (2, 20_001));
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    let mut crc = Crc32c::default();
    crc.add(b"1234");
    crc.add(b"56789");
    assert_eq!(crc.value(), 0xe306_9283);
    let mut zeros = Crc32c::default();
    zeros.add(&[0; 32]);
    assert_eq!(zeros.value(), 0x8a91_36aa);
}

#[test]
fn refuses_what_makes_no_sense_and_goes_on() {
    let rig = Rig::new();
    rig.put(0, 9, 1, 0, 0, 0);
    rig.put(1, 1, MAX_BYTES + 1, DATA, OTHER, 0);
    rig.put(2, 1, 16, SIZE, OTHER, 0);
    rig.put(3, 1, 16, DATA, u64::MAX - 3, 0);
    rig.put(4, 1, 16, DATA, OTHER, 0);
    rig.write(TAIL, 5);
    let statuses: Vec<u16> = (0..5).map(|entry| rig.outcome(entry).0).collect();
    assert_eq!(statuses, [0x10, 0x11, 0x12, 0x13, 1]);
    rig.write(TAIL, 8);
    assert_eq!((rig.read(TAIL), rig.read(HEAD)), (5, 5), "there is no such entry");
}

#[test]
fn goes_round_the_ring_and_stops_where_it_cannot_reach_it() {
    let rig = Rig::new();
    for _ in 0..3 {
        (0..8).for_each(|entry| rig.put(entry, 0, 0, 0, 0, 0));
        let head = rig.read(HEAD);
        rig.write(TAIL, (head + 5) % 8);
    }
    assert_eq!((rig.read(HEAD), rig.read(DONE_LOW)), (7, 15));
    rig.write(CONTROL, 0);
    rig.write(RING_LOW, SIZE as u32);
    rig.write(ENTRIES, 3);
    assert_eq!(rig.read(ENTRIES), 8, "not a power of two");
    rig.write(CONTROL, RUN);
    rig.write(TAIL, 1);
    assert_eq!((rig.read(STATUS), rig.read(HEAD)), (STOPPED, 0));
    rig.write(TAIL, 2);
    assert_eq!(rig.read(HEAD), 0, "it stays stopped");
}

const MAX_BYTES: u32 = 4 << 20;
