//! Readers against writers: no stale answer and no late write once an unmap has returned.
//!
//! While memory is mapped it holds good words; the moment an unmap has returned, the writer poisons it. A
//! reader that ever sees poison was given a stale answer; poison that does not stay was hit by a late write.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::test_runner::{RngAlgorithm, TestRng};
use vfio_memory::{Memory, PAGE_SIZE, Prot};

use crate::{Access, DmaSpace, IoPageTable, IovaRange, Translation};

const GOOD: u64 = 0x600d_600d_600d_600d;
const POISON: u64 = 0xdead_dead_dead_dead;
const PAGES: u64 = if cfg!(miri) { 4 } else { 1100 };
const READERS: usize = if cfg!(miri) { 1 } else { 3 };

fn duration() -> Duration {
    Duration::from_millis(if cfg!(miri) { 50 } else { 700 })
}

struct Random(TestRng);

impl Random {
    fn new(seed: u8) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
    }

    fn below(&mut self, end: u64) -> u64 {
        use proptest::prelude::RngCore;
        self.0.next_u64() % end
    }
}

fn fill(memory: &Memory, word: u64, page: u64, pages: u64) {
    for offset in (page * PAGE_SIZE..(page + pages) * PAGE_SIZE).step_by(64) {
        memory.store_u64(offset, word).unwrap();
    }
}

fn check(memory: &Memory, word: u64, page: u64, pages: u64) {
    for offset in (page * PAGE_SIZE..(page + pages) * PAGE_SIZE).step_by(64) {
        assert_eq!(memory.load_u64(offset), Ok(word), "a write landed after the unmap had returned");
    }
}

/// Reads and writes at random until told to stop; every word it sees must be good.
fn read(table: &IoPageTable, base: u64, stop: &AtomicBool, seed: u8) -> u64 {
    let mut random = Random::new(seed);
    let mut hits = 0;
    while !stop.load(Ordering::Relaxed) {
        let reader = table.reader();
        for _ in 0..random.below(64) {
            let iova = base + random.below(PAGES * PAGE_SIZE / 64) * 64;
            let mut bytes = [0; 8];
            let result = match random.below(4) {
                0 => reader.read(iova, &mut bytes),
                1 => table.read(iova, &mut bytes),
                2 => reader.write(iova, &GOOD.to_ne_bytes()).map(|()| bytes = GOOD.to_ne_bytes()),
                _ => reader.compare_exchange_u64(iova, GOOD, GOOD).map(|seen| bytes = seen.to_ne_bytes()),
            };
            if result.is_ok() {
                assert_eq!(u64::from_ne_bytes(bytes), GOOD, "a stale answer at {iova:#x}");
                hits += 1;
            }
        }
    }
    hits
}

#[test]
fn no_access_reaches_memory_after_unmap_returned() {
    let table = IoPageTable::new();
    // Straddles a 2 MiB and a 1 GiB boundary, so pieces come and go at several levels.
    let base = (1 << 30) - 600 * PAGE_SIZE;
    let memory = Memory::anonymous(PAGES * PAGE_SIZE).unwrap();
    fill(&memory, POISON, 0, PAGES);
    let stop = AtomicBool::new(false);
    let start = Barrier::new(READERS + 1);
    let hits: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (table, stop, start) = (&table, &stop, &start);
                scope.spawn(move || {
                    start.wait();
                    read(table, base, stop, n as u8)
                })
            })
            .collect();
        start.wait();
        let mut random = Random::new(99);
        let end = Instant::now() + duration();
        while Instant::now() < end && !readers.iter().any(|reader| reader.is_finished()) {
            churn(&table, &memory, base, &mut random);
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    check(&memory, POISON, 0, PAGES);
    assert_eq!(table.memory_usage(), 0);
    assert!(cfg!(miri) || hits > 0, "the readers never met a mapping");
}

/// Maps a few ranges, takes them away in another cut, and poisons what came back.
fn churn(table: &IoPageTable, memory: &Memory, base: u64, random: &mut Random) {
    let mut mapped = Vec::new();
    let mut page = random.below(PAGES / 2);
    while page < PAGES && mapped.len() < 12 {
        let pages = [1, 2, 3, 40, 512, 600][random.below(6) as usize].min(PAGES - page);
        fill(memory, GOOD, page, pages);
        let range = IovaRange::sized(base + page * PAGE_SIZE, pages * PAGE_SIZE).unwrap();
        table.map(range, memory, page * PAGE_SIZE, Prot::RW).unwrap();
        mapped.push((page, pages));
        page += pages + random.below(3);
    }
    if random.below(2) == 0 {
        // A mapping far away raises the root, and lowers it again.
        let far = IovaRange::sized(1 << (40 + random.below(20)), PAGE_SIZE).unwrap();
        table.map(far, memory, 0, Prot::READ).unwrap();
        table.unmap(far).unwrap();
    }
    std::thread::sleep(Duration::from_micros(random.below(200)));
    for (page, pages) in mapped {
        let cut = random.below(pages);
        for (page, pages) in [(page + cut, pages - cut), (page, cut)] {
            let Some(range) = IovaRange::sized(base + page * PAGE_SIZE, pages * PAGE_SIZE) else { continue };
            assert_eq!(table.unmap(range), Ok(pages * PAGE_SIZE));
            fill(memory, POISON, page, pages);
            check(memory, POISON, page, pages);
        }
    }
}

#[test]
fn neighbours_of_a_change_are_never_missed() {
    let table = IoPageTable::new();
    let memory = Memory::anonymous(1024 * PAGE_SIZE).unwrap();
    let host = memory.stable_ptr().unwrap().addr() as u64;
    let whole = IovaRange::sized(0, 1024 * PAGE_SIZE).unwrap();
    table.map(whole, &memory, 0, Prot::RW).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (table, stop) = (&table, &stop);
        let reader = scope.spawn(move || {
            let mut random = Random::new(5);
            while !stop.load(Ordering::Relaxed) {
                // Odd pages stay mapped throughout, while even ones come and go around them.
                let iova = (random.below(512) * 2 + 1) * PAGE_SIZE;
                let answer = table.translate(iova, Access::Read);
                let Translation { host: found, .. } = answer.expect("this page is always mapped");
                assert_eq!(found, host + iova);
            }
        });
        let mut random = Random::new(6);
        let end = Instant::now() + duration() / 2;
        while Instant::now() < end && !reader.is_finished() {
            let page = random.below(512) * 2;
            let range = IovaRange::sized(page * PAGE_SIZE, PAGE_SIZE).unwrap();
            assert_eq!(table.unmap(range), Ok(PAGE_SIZE));
            table.map(range, &memory, page * PAGE_SIZE, Prot::RW).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

#[test]
fn a_thread_that_reads_may_unmap_without_waiting_for_itself() {
    let table = IoPageTable::new();
    let memory = Memory::anonymous(4096 * PAGE_SIZE).unwrap();
    let range = IovaRange::sized(0x1000, 4000 * PAGE_SIZE).unwrap();
    table.map(range, &memory, 0, Prot::RW).unwrap();
    let reader = table.reader();
    assert!(reader.translate(0x5000, Access::Read).is_ok());
    table.unmap(range).unwrap();
    assert!(reader.translate(0x5000, Access::Read).is_err());
    assert_eq!(memory.handles(), 2, "the memory stays while the thread may look");
    drop(reader);
    table.map(range, &memory, 0, Prot::RW).unwrap();
    table.unmap(range).unwrap();
    assert_eq!((memory.handles(), table.memory_usage()), (1, 0));
}
