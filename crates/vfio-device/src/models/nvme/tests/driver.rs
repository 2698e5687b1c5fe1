//! A host's driver, as small as can be.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vfio_iommu::{DmaSpace, Iova};

use super::space::{RAM_SIZE, RAM_START, Ram, Remote};
use crate::models::nvme::{Nvme, NvmeConfig};
use crate::pci::registers::{COMMAND, COMMAND_MASTER, COMMAND_MEMORY};
use crate::pci::{InterruptSink, PciFunction};

pub(super) const PAGE: u64 = 4096;
pub(super) const CC_ENABLE: u32 = 0x0046_0001;
const PATIENCE: Duration = Duration::from_secs(20);

/// A command in the making.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) opcode: u8,
    pub(super) namespace: u32,
    pub(super) prp: [u64; 2],
    /// Dwords 10 to 15.
    pub(super) words: [u32; 6],
}

impl Order {
    pub(super) const fn new(opcode: u8) -> Self {
        Self { opcode, namespace: 0, prp: [0; 2], words: [0; 6] }
    }

    pub(super) const fn namespace(mut self, namespace: u32) -> Self {
        self.namespace = namespace;
        self
    }

    pub(super) const fn prp(mut self, prp: [u64; 2]) -> Self {
        self.prp = prp;
        self
    }

    pub(super) const fn word(mut self, number: usize, value: u32) -> Self {
        self.words[number - 10] = value;
        self
    }

    /// Names blocks to read, write or clear.
    pub(super) const fn blocks(self, first: u64, count: u32) -> Self {
        self.word(10, first as u32).word(11, (first >> 32) as u32).word(12, count - 1)
    }

    pub(super) fn encode(&self, id: u16) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0] = self.opcode;
        bytes[2..4].copy_from_slice(&id.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.namespace.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.prp[0].to_le_bytes());
        bytes[32..40].copy_from_slice(&self.prp[1].to_le_bytes());
        for (place, word) in bytes[40..].chunks_exact_mut(4).zip(self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// A completion as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) result: u32,
    pub(super) submission_head: u16,
    pub(super) queue: u16,
    pub(super) command: u16,
    /// Status code type and code.
    pub(super) status: u16,
}

/// A pair of queues.
pub(super) struct Pair {
    pub(super) id: u16,
    pub(super) size: u32,
    submission: Iova,
    completion: Iova,
    tail: u32,
    head: u32,
    phase: bool,
    next_command: u16,
}

/// Notes the interrupts that reach the host.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) lines: Mutex<u32>,
    pub(super) messages: Mutex<Vec<u32>>,
}

impl InterruptSink for Heard {
    fn line_asserted(&self) {
        *self.lines.lock() += 1;
    }

    fn message(&self, vector: u32) {
        self.messages.lock().push(vector);
    }
}

pub(super) struct Driver {
    pub(super) function: Arc<PciFunction>,
    pub(super) ram: Arc<Ram>,
    pub(super) heard: Arc<Heard>,
    free: u64,
}

impl Driver {
    /// Makes a controller whose memory answers at once.
    pub(super) fn new(config: NvmeConfig) -> Self {
        let ram = Arc::new(Ram::new());
        Self::with_space(config, Arc::clone(&ram), ram)
    }

    /// Makes a controller whose memory answers by messages.
    pub(super) fn remote(config: NvmeConfig) -> (Self, Arc<Remote>) {
        let ram = Arc::new(Ram::new());
        let remote = Arc::new(Remote::new(Arc::clone(&ram)));
        (Self::with_space(config, ram, Arc::clone(&remote) as Arc<dyn DmaSpace>), remote)
    }

    fn with_space(config: NvmeConfig, ram: Arc<Ram>, space: Arc<dyn DmaSpace>) -> Self {
        let function = Nvme::function(config).expect("the description makes sense");
        function.dma().attach(Some(space));
        function.config_write(COMMAND, &(COMMAND_MEMORY | COMMAND_MASTER).to_le_bytes());
        let heard = Arc::new(Heard::default());
        let weak = Arc::downgrade(&heard);
        function.claim(Some(weak));
        Self { function, ram, heard, free: RAM_START }
    }

    /// Takes zeroed pages.
    pub(super) fn pages(&mut self, count: u64) -> Iova {
        let at = self.free;
        self.free += count * PAGE;
        assert!(self.free <= RAM_START + RAM_SIZE, "the test uses too much memory");
        self.poke(at, &vec![0; (count * PAGE) as usize]);
        at
    }

    pub(super) fn poke(&self, at: Iova, bytes: &[u8]) {
        self.ram.0.write(at - RAM_START, bytes).expect("inside memory");
    }

    pub(super) fn peek(&self, at: Iova, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.0.read(at - RAM_START, &mut bytes).expect("inside memory");
        bytes
    }

    pub(super) fn read32(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.function.bar_read(0, offset, &mut bytes).expect("registers answer");
        u32::from_le_bytes(bytes)
    }

    pub(super) fn write32(&self, offset: u64, value: u32) {
        self.function.bar_write(0, offset, &value.to_le_bytes()).expect("registers take everything");
    }

    pub(super) fn write64(&self, offset: u64, value: u64) {
        self.function.bar_write(0, offset, &value.to_le_bytes()).expect("registers take everything");
    }

    pub(super) fn status(&self) -> u32 {
        self.read32(0x1c)
    }

    /// Waits until something holds.
    pub(super) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "{what} does not happen, status {:#x}", self.status());
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Enables the controller with admin queues of so many entries.
    pub(super) fn enable(&mut self, size: u32) -> Pair {
        let pages = u64::from(size * 64).div_ceil(PAGE);
        let (submission, completion) = (self.pages(pages), self.pages(pages));
        self.write32(0x24, (size - 1) << 16 | (size - 1));
        self.write64(0x28, submission);
        self.write64(0x30, completion);
        self.write32(0x14, CC_ENABLE);
        self.until("ready", |driver| driver.status() & 1 != 0);
        Pair { id: 0, size, submission, completion, tail: 0, head: 0, phase: true, next_command: 0 }
    }

    /// Creates a pair of queues with interrupts by the vector of its number, or none without messages.
    pub(super) fn create(&mut self, admin: &mut Pair, id: u16, size: u32, vector: Option<u16>) -> Pair {
        let pages = u64::from(size * 64).div_ceil(PAGE);
        let (submission, completion) = (self.pages(pages), self.pages(pages));
        let number = u32::from(id) | (size - 1) << 16;
        let interrupts = vector.map_or(0, |vector| u32::from(vector) << 16 | 2);
        let order = Order::new(0x05).prp([completion, 0]).word(10, number).word(11, interrupts | 1);
        assert_eq!(self.order(admin, order).status, 0);
        let order = Order::new(0x01).prp([submission, 0]).word(10, number).word(11, u32::from(id) << 16 | 1);
        assert_eq!(self.order(admin, order).status, 0);
        Pair { id, size, submission, completion, tail: 0, head: 0, phase: true, next_command: 0 }
    }

    /// Puts a command into a queue without telling; returns its identifier.
    pub(super) fn put(&self, pair: &mut Pair, order: Order) -> u16 {
        let id = pair.next_command;
        pair.next_command = id.wrapping_add(1);
        self.put_raw(pair, &order.encode(id));
        id
    }

    /// Puts the bytes of a command into a queue without telling.
    pub(super) fn put_raw(&self, pair: &mut Pair, bytes: &[u8; 64]) {
        self.poke(pair.submission + u64::from(pair.tail) * 64, bytes);
        pair.tail = (pair.tail + 1) % pair.size;
    }

    /// Rings the submission queue's doorbell.
    pub(super) fn ring(&self, pair: &Pair) {
        self.write32(0x1000 + u64::from(pair.id) * 8, pair.tail);
    }

    /// Takes a completion if there is one, without telling.
    pub(super) fn take(&self, pair: &mut Pair) -> Option<Answer> {
        let bytes = self.peek(pair.completion + u64::from(pair.head) * 16, 16);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if (word(14) & 1 != 0) != pair.phase {
            return None;
        }
        pair.head = (pair.head + 1) % pair.size;
        pair.phase ^= pair.head == 0;
        Some(Answer {
            result: u32::from(word(2)) << 16 | u32::from(word(0)),
            submission_head: word(8),
            queue: word(10),
            command: word(12),
            status: word(14) >> 1 & 0x7ff,
        })
    }

    /// Rings the completion queue's doorbell.
    pub(super) fn acknowledge(&self, pair: &Pair) {
        self.write32(0x1004 + u64::from(pair.id) * 8, pair.head);
    }

    /// Waits for a completion and acknowledges it.
    pub(super) fn answer(&self, pair: &mut Pair) -> Answer {
        let start = Instant::now();
        loop {
            if let Some(answer) = self.take(pair) {
                self.acknowledge(pair);
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "no completion, status {:#x}", self.status());
            thread::sleep(Duration::from_micros(20));
        }
    }

    /// Has a command executed.
    pub(super) fn order(&self, pair: &mut Pair, order: Order) -> Answer {
        let id = self.put(pair, order);
        self.ring(pair);
        let answer = self.answer(pair);
        assert_eq!((answer.command, answer.queue), (id, pair.id));
        answer
    }

    /// Lays out PRPs for pages: two entries, or one and a list in `list`.
    pub(super) fn prps(&self, pages: &[Iova], list: Iova) -> [u64; 2] {
        match pages {
            [] => [0, 0],
            [only] => [*only, 0],
            [first, second] => [*first, *second],
            [first, rest @ ..] => {
                let bytes: Vec<u8> = rest.iter().flat_map(|page| page.to_le_bytes()).collect();
                self.poke(list, &bytes);
                [*first, list]
            }
        }
    }
}

/// Bytes that look random and are the same for the same seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn config() -> NvmeConfig {
    NvmeConfig::new("nvme").expect("there is memory")
}
