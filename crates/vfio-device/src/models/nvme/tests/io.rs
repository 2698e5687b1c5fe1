use super::driver::{Driver, Order, PAGE, Pair, config, noise};
use crate::models::nvme::NvmeConfig;
use std::thread;
use vfio_memory::Memory;

fn started() -> (Driver, Pair, Pair) {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let pair = driver.create(&mut admin, 1, 64, None);
    (driver, admin, pair)
}

fn transfer(opcode: u8, first: u64, count: u32, prp: [u64; 2]) -> Order {
    Order::new(opcode).namespace(1).blocks(first, count).prp(prp)
}

#[test]
fn what_is_written_is_read_back() {
    let (mut driver, _admin, mut pair) = started();
    let list = driver.pages(1);
    for (round, blocks) in [1, 2, 7, 8, 9, 16, 17, 64, 333, 1024].into_iter().enumerate() {
        let len = blocks as usize * 512;
        let count = (len as u64).div_ceil(PAGE);
        // Pages in reverse, so that none follows the other.
        let base = driver.pages(count);
        let pages: Vec<u64> = (0..count).rev().map(|page| base + page * PAGE).collect();
        let data = noise(round as u64, len);
        for (page, bytes) in pages.iter().zip(data.chunks(PAGE as usize)) {
            driver.poke(*page, bytes);
        }
        let prp = driver.prps(&pages, list);
        assert_eq!(driver.order(&mut pair, transfer(0x01, 100 * round as u64, blocks, prp)).status, 0);
        driver.poke(base, &vec![0xee; (count * PAGE) as usize]);
        assert_eq!(driver.order(&mut pair, transfer(0x02, 100 * round as u64, blocks, prp)).status, 0);
        let mut back: Vec<u8> = pages.iter().flat_map(|page| driver.peek(*page, PAGE as usize)).collect();
        assert!(back.drain(len..).all(|byte| byte == 0xee));
        assert!(back == data, "{blocks} blocks");
    }
}

#[test]
fn data_may_begin_inside_a_page_and_lists_may_continue() {
    let (mut driver, _admin, mut pair) = started();
    let base = driver.pages(4);
    let lists = driver.pages(2);
    let data = noise(5, 3 * 4096);
    driver.poke(base + 0x800, &data);
    // The list begins at the last entry of its page, which leads on.
    driver.poke(lists + 0xff8, &(lists + PAGE).to_le_bytes());
    let entries: Vec<u8> = (1..4).flat_map(|page| (base + page * PAGE).to_le_bytes()).collect();
    driver.poke(lists + PAGE, &entries);
    let written = driver.order(&mut pair, transfer(0x01, 3, 24, [base + 0x800, lists + 0xff8]));
    assert_eq!(written.status, 0);
    let back = driver.pages(3);
    let entries: Vec<u8> = (1..3).flat_map(|page| (back + page * PAGE).to_le_bytes()).collect();
    driver.poke(lists, &entries);
    assert_eq!(driver.order(&mut pair, transfer(0x02, 3, 24, [back, lists])).status, 0);
    assert!(driver.peek(back, data.len()) == data);
}

#[test]
fn refuses_what_makes_no_sense() {
    let (mut driver, _admin, mut pair) = started();
    let page = driver.pages(1);
    let list = driver.pages(1);
    let blocks = (16 << 20) / 512;
    let mut status = |order: Order| driver.order(&mut pair, order).status;
    assert_eq!(status(transfer(0x02, blocks, 1, [page, 0])), 0x080);
    assert_eq!(status(transfer(0x02, blocks - 1, 1, [page, 0])), 0);
    assert_eq!(status(transfer(0x02, u64::MAX, 1, [page, 0])), 0x080);
    assert_eq!(status(transfer(0x02, 0, 1025, [page, 0])), 0x002);
    assert_eq!(status(transfer(0x02, 0, 1, [page, 0]).namespace(2)), 0x00b);
    assert_eq!(status(transfer(0x02, 0, 1, [page + 2, 0])), 0x013);
    assert_eq!(status(transfer(0x02, 0, 16, [page, page + 8])), 0x013);
    assert_eq!(status(transfer(0x02, 0, 32, [page, list + 4])), 0x013);
    assert_eq!(status(transfer(0x02, 0, 1, [0x1000, 0])), 0x004);
    assert_eq!(status(transfer(0x02, 0, 32, [page, 0])), 0x004);
    assert_eq!(status(transfer(0x02, 0, 1, [u64::MAX - 4095, 0])), 0x004);
    assert_eq!(status(transfer(0x55, 0, 1, [page, 0])), 0x001);
    assert_eq!(status(Order::new(0x00).namespace(u32::MAX)), 0);
    assert_eq!(status(Order::new(0x08).namespace(u32::MAX)), 0x00b);
    // A list that leads to itself ends when there is enough.
    driver.poke(list, &list.to_le_bytes().repeat(512));
    assert_eq!(driver.order(&mut pair, transfer(0x01, 0, 1024, [page, list])).status, 0);
    assert_eq!(driver.order(&mut pair, transfer(0x01, 0, 32, [page, list + 0xff8])).status, 0);
    assert_eq!(driver.status(), 1);
}

#[test]
fn clears_and_deallocates() {
    let (mut driver, _admin, mut pair) = started();
    let page = driver.pages(1);
    let list = driver.pages(1);
    let data = noise(9, 4096);
    driver.poke(page, &data);
    for first in [0, 8, 16] {
        assert_eq!(driver.order(&mut pair, transfer(0x01, first, 8, [page, 0])).status, 0);
    }
    assert_eq!(driver.order(&mut pair, transfer(0x08, 2, 4, [0, 0])).status, 0);
    let mut ranges = Vec::new();
    for (count, first) in [(4u32, 9u64), (3, 10), (1, 8)] {
        ranges.extend_from_slice(&[0; 4]);
        ranges.extend_from_slice(&count.to_le_bytes());
        ranges.extend_from_slice(&first.to_le_bytes());
    }
    driver.poke(list, &ranges);
    let order = Order::new(0x09).namespace(1).prp([list, 0]).word(10, 2);
    assert_eq!(driver.order(&mut pair, order).status, 0);
    let read = |driver: &Driver, pair: &mut Pair, first| {
        assert_eq!(driver.order(pair, transfer(0x02, first, 8, [page, 0])).status, 0);
        let bytes = driver.peek(page, 4096);
        (0..8)
            .map(|block| bytes[block * 512..(block + 1) * 512] == data[block * 512..(block + 1) * 512])
            .collect()
    };
    let same: Vec<bool> = read(&driver, &mut pair, 0);
    assert_eq!(same, [true, true, false, false, false, false, true, true]);
    let same: Vec<bool> = read(&driver, &mut pair, 8);
    assert_eq!(same, [true; 8]);
    assert_eq!(driver.order(&mut pair, order.word(11, 4)).status, 0);
    let same: Vec<bool> = read(&driver, &mut pair, 8);
    assert_eq!(same, [false, false, false, false, false, true, true, true]);
    driver.poke(list, &[0xff; 16]);
    assert_eq!(driver.order(&mut pair, order.word(11, 4)).status, 0x080);
}

#[test]
fn read_only_memory_cannot_be_written() {
    let memfd = Memory::memfd("blocks", 1 << 20).expect("there is memory");
    let fd = memfd.fd().expect("it has one").try_clone_to_owned().expect("it can be cloned");
    let media = Memory::from_fd(fd, 0, 1 << 20, false).expect("it can be mapped");
    let mut driver = Driver::new(NvmeConfig::with_media("nvme", media));
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 8, None);
    let page = driver.pages(1);
    assert_eq!(driver.order(&mut pair, transfer(0x01, 0, 1, [page, 0])).status, 0x020);
    assert_eq!(driver.order(&mut pair, transfer(0x02, 0, 1, [page, 0])).status, 0);
}

#[test]
fn a_full_queue_waits_for_the_host() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 4, None);
    let flush = Order::new(0).namespace(1);
    for _ in 0..3 {
        driver.put(&mut pair, flush);
    }
    driver.ring(&pair);
    let first: Vec<_> = (0..3).map_while(|_| driver.take(&mut pair)).collect();
    assert_eq!(first.len(), 3);
    // Nothing was acknowledged: there is no room for more.
    for _ in 0..3 {
        driver.put(&mut pair, flush);
    }
    driver.ring(&pair);
    assert_eq!(driver.take(&mut pair), None);
    driver.acknowledge(&pair);
    let second: Vec<_> = (0..3).map_while(|_| driver.take(&mut pair)).collect();
    assert_eq!(second.iter().map(|answer| answer.command).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn several_queues_at_once_from_several_threads() {
    const QUEUES: u16 = 6;
    const ROUNDS: u64 = 200;
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let pairs: Vec<(Pair, u64)> = (1..=QUEUES)
        .map(|id| {
            let pair = driver.create(&mut admin, id, 16, None);
            (pair, driver.pages(4))
        })
        .collect();
    let driver = &driver;
    thread::scope(|scope| {
        for (mut pair, pages) in pairs {
            scope.spawn(move || {
                let prp = [pages, pages + PAGE];
                let back = [pages + 2 * PAGE, pages + 3 * PAGE];
                for round in 0..ROUNDS {
                    let first = u64::from(pair.id) * 1024 + round * 4 % 1000;
                    let data = noise(first ^ round << 20, 8192);
                    driver.poke(pages, &data);
                    driver.put(&mut pair, transfer(0x01, first, 16, prp));
                    driver.put(&mut pair, transfer(0x02, first, 16, back));
                    driver.ring(&pair);
                    assert_eq!(driver.answer(&mut pair).status, 0);
                    assert_eq!(driver.answer(&mut pair).status, 0);
                    assert!(driver.peek(back[0], 8192) == data);
                }
            });
        }
    });
}
