//! A driver with a chain in memory of its own.

use std::sync::Arc;

use vfio_iommu::{DmaSpace, IoPageTable, IovaRange};
use vfio_memory::{Memory, Prot};

use super::*;
use crate::pci::registers::{COMMAND, COMMAND_MASTER, COMMAND_MEMORY};

const CHAIN_AT: u64 = 0x1_0000;
const DATA: u64 = 0x10_0000;
const OTHER: u64 = 0x20_0000;
const STATUS_AT: u64 = 0x3_0000;
const SIZE: u64 = 0x40_0000;
const NOWHERE: u64 = 0x8000_0000;

const CONTROL: u64 = 0x80;
const COMMAND_BYTE: u64 = 0x84;
const COUNT: u64 = 0x86;
const STATUS: u64 = 0x88;
const CHAIN: u64 = 0x90;
const COMPLETION: u64 = 0x98;
const ERRORS: u64 = 0xa8;

/// A channel after a reset, and the memory it sees from address 0 on.
struct Rig {
    function: Arc<PciFunction>,
    memory: Memory,
}

impl Rig {
    fn new() -> Self {
        let function = Ioat::function(IoatConfig::new("ioat")).expect("a function");
        let memory = Memory::anonymous(SIZE).expect("memory");
        let table = IoPageTable::new();
        table.map(IovaRange::sized(0, SIZE).expect("a range"), &memory, 0, Prot::RW).expect("free");
        let space: Arc<dyn DmaSpace> = Arc::new(table);
        function.dma().attach(Some(space));
        function.config_write(COMMAND, &(COMMAND_MEMORY | COMMAND_MASTER).to_le_bytes());
        let rig = Self { function, memory };
        rig.write(COMMAND_BYTE, &[0x20]);
        rig.write(CONTROL, &0x0009u16.to_le_bytes());
        rig
    }

    fn write(&self, register: u64, bytes: &[u8]) {
        self.function.bar_write(0, register, bytes).expect("a register");
    }

    fn read<const N: usize>(&self, register: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.function.bar_read(0, register, &mut bytes).expect("a register");
        bytes
    }

    fn status(&self) -> u64 {
        u64::from_le_bytes(self.read(STATUS))
    }

    fn put(&self, at: u64, len: u32, control: u32, words: [u64; 3]) {
        let mut bytes = [len.to_le_bytes(), control.to_le_bytes()].concat();
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.resize(64, 0);
        self.memory.write(at, &bytes).expect("inside");
    }

    fn start(&self, count: u16) {
        self.write(CHAIN, &CHAIN_AT.to_le_bytes());
        self.write(COUNT, &count.to_le_bytes());
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(at, &mut bytes).expect("inside");
        bytes
    }
}

#[test]
fn tells_what_it_is() {
    let rig = Rig::new();
    assert_eq!(rig.read::<1>(0x00), [1]);
    assert_eq!(rig.read::<1>(0x01), [15]);
    assert_eq!(rig.read::<1>(0x08), [0x33]);
    assert_eq!(rig.function.config_u32(0), 0x2021_8086);
    assert_eq!(rig.status() & 7, 3, "a reset leaves the channel halted");
}

#[test]
fn copies_and_fills_along_a_chain_and_writes_the_status_back() {
    let rig = Rig::new();
    rig.memory.write(DATA, b"what is moved").expect("inside");
    let second = CHAIN_AT + 0x40;
    rig.put(CHAIN_AT, 13, 0, [DATA, OTHER, second]);
    rig.put(second, 12, 1 << 24 | 1 << 3, [0x0807_0605_0403_0201, OTHER + 0x100, 0]);
    rig.write(COMPLETION, &STATUS_AT.to_le_bytes());
    rig.start(2);
    assert_eq!(rig.bytes(OTHER, 13), b"what is moved");
    assert_eq!(rig.bytes(OTHER + 0x100, 12), [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]);
    assert_eq!(rig.status(), second | 1);
    assert_eq!(rig.bytes(STATUS_AT, 8), (second | 1).to_le_bytes());
}

#[test]
fn goes_on_where_it_stopped_when_the_count_grows() {
    let rig = Rig::new();
    rig.put(CHAIN_AT, 1, 0, [DATA, OTHER, CHAIN_AT + 0x40]);
    rig.put(CHAIN_AT + 0x40, 1, 0, [DATA, OTHER + 1, 0]);
    rig.memory.write(DATA, &[7]).expect("inside");
    rig.start(1);
    assert_eq!(rig.bytes(OTHER, 2), [7, 0]);
    rig.write(COUNT, &2u16.to_le_bytes());
    assert_eq!(rig.bytes(OTHER, 2), [7, 7]);
}

#[test]
fn halts_at_what_it_cannot_do_until_the_error_is_cleared() {
    let rig = Rig::new();
    let cases = [
        (0x40, 0, [NOWHERE, OTHER, 0], 1 << 8),
        (0x40, 0, [DATA, NOWHERE, 0], 1 << 9),
        (0x40, 0x55 << 24, [DATA, OTHER, 0], 1 << 10),
        (0x8001, 0, [DATA, OTHER, 0], 1 << 11),
        (0, 0, [DATA, OTHER, 0], 1 << 11),
    ];
    for (len, control, words, error) in cases {
        rig.put(CHAIN_AT, len, control, words);
        rig.start(1);
        assert_eq!(rig.status() & 7, 3);
        assert_eq!(u32::from_le_bytes(rig.read(ERRORS)), error);
        rig.put(CHAIN_AT, 0x40, 0, [DATA, OTHER, 0]);
        rig.start(1);
        assert_eq!(rig.status() & 7, 3, "an error stays");
        rig.write(ERRORS, &u32::MAX.to_le_bytes());
        rig.start(1);
        assert_eq!(rig.status() & 7, 1);
    }
    rig.write(CHAIN, &NOWHERE.to_le_bytes());
    rig.write(COUNT, &1u16.to_le_bytes());
    assert_eq!(u32::from_le_bytes(rig.read(ERRORS)), 1 << 2);
}

#[test]
fn an_interrupt_waits_for_being_rearmed() {
    let rig = Rig::new();
    rig.put(CHAIN_AT, 8, 1, [DATA, OTHER, CHAIN_AT]);
    rig.write(0x03, &[0x08]);
    rig.start(1);
    assert_eq!(rig.read::<4>(0x04), [1, 0, 0, 0]);
    assert_eq!(rig.read::<4>(0x04), [0; 4], "reading clears");
    rig.start(1);
    assert_eq!(rig.read::<4>(0x04), [0; 4], "it was not rearmed");
    rig.write(CONTROL, &0x0009u16.to_le_bytes());
    rig.start(1);
    assert_eq!(rig.read::<4>(0x04), [1, 0, 0, 0]);
}

#[test]
fn suspends_and_resumes() {
    let rig = Rig::new();
    rig.put(CHAIN_AT, 8, 0, [DATA, OTHER, CHAIN_AT]);
    rig.start(1);
    rig.write(COMMAND_BYTE, &[0x04]);
    assert_eq!(rig.status() & 7, 2);
    rig.write(COMMAND_BYTE, &[0x10]);
    assert_eq!(rig.status() & 7, 1);
}

#[test]
fn a_long_chain_is_done_beside_the_driver_and_a_reset_ends_it() {
    let rig = Rig::new();
    rig.put(CHAIN_AT, 0x8000, 0, [DATA, OTHER, CHAIN_AT]);
    rig.start(400);
    while rig.status() & 7 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(rig.status() & 7, 1);
    rig.start(u16::MAX);
    rig.write(COMMAND_BYTE, &[0x20]);
    assert_eq!(rig.status() & 7, 3);
    rig.write(CONTROL, &0x0009u16.to_le_bytes());
    rig.put(CHAIN_AT, 8, 0, [DATA, OTHER, CHAIN_AT]);
    rig.start(3);
    while rig.status() & 7 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(rig.status(), CHAIN_AT | 1);
}
