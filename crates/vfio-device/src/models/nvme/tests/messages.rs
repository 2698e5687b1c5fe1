use super::driver::{CC_ENABLE, Driver, Order, PAGE, Pair, config, noise};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vfio_iommu::DmaSpace;

fn transfer(opcode: u8, first: u64, count: u32, prp: [u64; 2]) -> Order {
    Order::new(opcode).namespace(1).blocks(first, count).prp(prp)
}

fn write_and_read(driver: &mut Driver, pair: &mut Pair, seed: u64) {
    const BLOCKS: u32 = 1000;
    let count = u64::from(BLOCKS * 512).div_ceil(PAGE);
    let (base, list) = (driver.pages(count), driver.pages(1));
    let pages: Vec<u64> = (0..count).rev().map(|page| base + page * PAGE).collect();
    let data = noise(seed, (count * PAGE) as usize);
    driver.poke(base, &data);
    let prp = driver.prps(&pages, list);
    assert_eq!(driver.order(pair, transfer(0x01, seed, BLOCKS, prp)).status, 0);
    driver.poke(base, &vec![0; data.len()]);
    assert_eq!(driver.order(pair, transfer(0x02, seed, BLOCKS, prp)).status, 0);
    let (back, page) = (driver.peek(base, data.len()), PAGE as usize);
    // The transfer ends inside the page that lies first in memory.
    let rest = BLOCKS as usize * 512 % page;
    assert!(back[page..] == data[page..] && back[..rest] == data[..rest]);
}

#[test]
fn works_where_memory_is_reachable_by_messages_only() {
    let (mut driver, _remote) = Driver::remote(config());
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 16, None);
    write_and_read(&mut driver, &mut pair, 1);
    driver.write32(0x14, 0);
    driver.until("the stop", |driver| driver.status() == 0);
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 16, None);
    write_and_read(&mut driver, &mut pair, 2);
    assert_eq!(driver.order(&mut pair, transfer(0x02, 0, 8, [0x1000, 0])).status, 0x004);
}

#[test]
fn registers_answer_while_a_message_is_under_way() {
    let (mut driver, remote) = Driver::remote(config());
    let mut admin = driver.enable(16);
    remote.hold();
    driver.put(&mut admin, Order::new(0x08));
    let start = Instant::now();
    driver.ring(&admin);
    driver.until("a question", |_| remote.held() != 0);
    assert_eq!(driver.status(), 1);
    driver.write32(0x0c, 1);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(driver.take(&mut admin), None);
    remote.release();
    assert_eq!(driver.answer(&mut admin).result, 1);
}

#[test]
fn no_more_is_under_way_than_a_socket_holds() {
    let (mut driver, remote) = Driver::remote(config());
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 16, None);
    let (base, list) = (driver.pages(128), driver.pages(1));
    for scattered in [false, true] {
        let pages: Vec<u64> = (0..128).map(|page| base + page * PAGE).collect();
        let pages = if scattered { pages.into_iter().rev().collect() } else { pages };
        let prp = driver.prps(&pages, list);
        driver.put(&mut pair, transfer(0x01, 0, 1024, prp));
        remote.hold();
        driver.ring(&pair);
        // The command, the list, then data.
        for most in [64, 127 * 8, 64 << 10] {
            driver.until("a question", |_| remote.held() != 0);
            std::thread::sleep(Duration::from_millis(20));
            assert!(remote.held_bytes() <= most);
            remote.release_held();
        }
        remote.release();
        assert_eq!(driver.answer(&mut pair).status, 0);
    }
}

#[test]
fn a_stop_waits_for_messages_a_while_and_a_reset_does_not() {
    let (mut driver, remote) = Driver::remote(config());
    let mut admin = driver.enable(16);
    remote.hold();
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    driver.until("a question", |_| remote.held() != 0);
    driver.write32(0x14, CC_ENABLE & !1);
    assert_eq!(driver.status(), 1);
    remote.release();
    driver.until("the stop", |driver| driver.status() == 0);
    assert_eq!(driver.take(&mut admin), None);

    let mut admin = driver.enable(16);
    remote.hold();
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    driver.until("a question", |_| remote.held() != 0);
    driver.write32(0x14, CC_ENABLE & !1);
    driver.until("the stop although nobody answers", |driver| driver.status() == 0);

    driver.enable(16);
    driver.write32(0x1000, 1);
    driver.until("a question", |_| remote.held() > 1);
    driver.function.try_reset().expect("there is a way");
    assert_eq!(driver.status(), 0);
    remote.release();
    let mut admin = driver.enable(16);
    assert_eq!(driver.order(&mut admin, Order::new(0x08)).result, 1);
}

#[test]
fn a_peer_that_vanishes_ends_the_work() {
    let (mut driver, remote) = Driver::remote(config());
    let mut admin = driver.enable(16);
    remote.hold();
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    driver.until("a question", |_| remote.held() != 0);
    remote.vanish();
    driver.until("the failure", |driver| driver.status() & 2 != 0);
    let ram = Arc::clone(&driver.ram) as Arc<dyn DmaSpace>;
    driver.function.dma().attach(Some(ram));
    driver.write32(0x14, 0);
    driver.until("the stop", |driver| driver.status() == 0);
    let mut admin = driver.enable(16);
    assert_eq!(driver.order(&mut admin, Order::new(0x08)).result, 1);
}

#[test]
fn much_work_is_left_to_a_thread_that_ends_with_the_controller() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let mut pair = driver.create(&mut admin, 1, 1024, None);
    let page = driver.pages(1);
    for block in 0..1000 {
        driver.put(&mut pair, transfer(0x01, block, 8, [page, 0]));
    }
    driver.ring(&pair);
    for _ in 0..1000 {
        assert_eq!(driver.answer(&mut pair).status, 0);
    }
    let media = Arc::downgrade(driver.function.model());
    let Driver { function, .. } = driver;
    drop(function);
    assert!(media.upgrade().is_none());
}

#[test]
fn the_worker_lets_the_controller_go() {
    let media = vfio_memory::Memory::anonymous(1 << 20).expect("there is memory");
    let config = crate::models::NvmeConfig::with_media("nvme", media.clone());
    let (mut driver, remote) = Driver::remote(config);
    let mut admin = driver.enable(16);
    assert_eq!(driver.order(&mut admin, Order::new(0x08)).result, 1);
    remote.hold();
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    driver.until("a question", |_| remote.held() != 0);
    drop(driver);
    let start = Instant::now();
    while media.handles() > 1 {
        assert!(start.elapsed() < Duration::from_secs(10), "the worker is still there");
        std::thread::sleep(Duration::from_millis(1));
    }
}
