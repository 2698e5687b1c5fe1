use super::driver::{Driver, Order, PAGE, config, noise};
use crate::models::nvme::NvmeConfig;
use vfio_memory::Memory;

const INVALID_FIELD: u16 = 0x002;

fn identify(
    driver: &mut Driver,
    admin: &mut super::driver::Pair,
    cns: u32,
    namespace: u32,
) -> Result<Vec<u8>, u16> {
    let page = driver.pages(1);
    driver.poke(page, &noise(7, PAGE as usize));
    let order = Order::new(0x06).namespace(namespace).prp([page, 0]).word(10, cns);
    match driver.order(admin, order).status {
        0 => Ok(driver.peek(page, PAGE as usize)),
        status => Err(status),
    }
}

#[test]
fn identifies_itself() {
    let mut config = config();
    config.serial = "S1".to_owned();
    config.identity.vendor = 0x1234;
    let mut driver = Driver::new(config);
    let mut admin = driver.enable(16);
    let page = identify(&mut driver, &mut admin, 1, 0).expect("there is a controller");
    assert_eq!(&page[0..4], [0x34, 0x12, 0xf4, 0x1a]);
    assert_eq!(&page[4..24], b"S1                  ");
    assert_eq!((page[77], page[111], page[512], page[513], page[516]), (7, 1, 0x66, 0x44, 1));
    assert!(page[768..].starts_with(b"nqn.2014-08.org.nvmexpress:uuid:"));
}

#[test]
fn identifies_its_namespace() {
    let mut config = NvmeConfig::with_media("nvme", Memory::anonymous(1 << 20).expect("there is memory"));
    config.block_size = 4096;
    let mut driver = Driver::new(config);
    let mut admin = driver.enable(16);
    let page = identify(&mut driver, &mut admin, 0, 1).expect("there is a namespace");
    assert_eq!(&page[0..8], 256u64.to_le_bytes());
    assert_eq!((page[25], page[26], page[130]), (0, 0, 12));
    let list = identify(&mut driver, &mut admin, 2, 0).expect("there is a list");
    assert_eq!(&list[0..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let list = identify(&mut driver, &mut admin, 2, 1).expect("there is a list");
    assert!(list.iter().all(|byte| *byte == 0));
    let list = identify(&mut driver, &mut admin, 3, 1).expect("there is a namespace");
    assert_eq!(([list[0], list[1]], [list[20], list[21]]), ([2, 16], [3, 16]));
    assert_eq!([list[40], list[41], list[44], list[45]], [4, 1, 0, 0]);
    for (cns, namespace, status) in
        [(0, 2, 0x00b), (0, 0, 0x00b), (3, 2, 0x00b), (2, u32::MAX, 0x00b), (0x7f, 1, 2)]
    {
        assert_eq!(identify(&mut driver, &mut admin, cns, namespace), Err(status));
    }
}

#[test]
fn refuses_queues_that_make_no_sense() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let page = driver.pages(1);
    let mut refused = |opcode, prp: u64, number: u32, details: u32| {
        let order = Order::new(opcode).prp([prp, 0]).word(10, number).word(11, details);
        driver.order(&mut admin, order).status
    };
    assert_eq!(refused(0x05, page, 0x000f_0000, 1), 0x101);
    assert_eq!(refused(0x05, page, 0x000f_0041, 1), 0x101);
    assert_eq!(refused(0x05, page, 0x0000_0001, 1), 0x102);
    assert_eq!(refused(0x05, page, 0x0800_0001, 1), 0x102);
    assert_eq!(refused(0x05, page + 8, 0x000f_0001, 1), 0x013);
    assert_eq!(refused(0x05, u64::MAX - 4095, 0x07ff_0001, 1), 0x013);
    assert_eq!(refused(0x05, page, 0x000f_0001, 0), INVALID_FIELD);
    assert_eq!(refused(0x05, page, 0x000f_0001, 0x0001_0003), 0x108);
    assert_eq!(refused(0x01, page, 0x000f_0001, 0x0001_0001), 0x100);
    assert_eq!(refused(0x05, page, 0x000f_0001, 1), 0);
    assert_eq!(refused(0x05, page, 0x000f_0001, 1), 0x101);
    assert_eq!(refused(0x01, page, 0x000f_0001, 1), 0x100);
    assert_eq!(refused(0x01, page, 0x000f_0000, 0x0001_0001), 0x101);
    assert_eq!(refused(0x01, page, 0x000f_0001, 0x0001_0001), 0);
    assert_eq!(refused(0x04, 0, 1, 0), 0x10c);
    assert_eq!(refused(0x00, 0, 2, 0), 0x101);
    assert_eq!(refused(0x00, 0, 1, 0), 0);
    assert_eq!(refused(0x04, 0, 1, 0), 0);
    assert_eq!(refused(0x04, 0, 0, 0), 0x101);
    assert_eq!(refused(0x00, 0, 0, 0), 0x101);
}

#[test]
fn has_features() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let page = driver.pages(1);
    let mut feature = |opcode, id: u32, value: u32| {
        let answer = driver.order(&mut admin, Order::new(opcode).prp([page, 0]).word(10, id).word(11, value));
        (answer.status, answer.result)
    };
    assert_eq!(feature(0x09, 0x07, 0x0003_0003), (0, 0x003f_003f));
    assert_eq!(feature(0x0a, 0x07, 0), (0, 0x003f_003f));
    assert_eq!(feature(0x09, 0x07, 0xffff), (INVALID_FIELD, 0));
    assert_eq!(feature(0x0a, 0x06, 0), (0, 1));
    assert_eq!(feature(0x09, 0x06, 0), (0, 0));
    assert_eq!(feature(0x0a, 0x06, 0), (0, 0));
    assert_eq!(feature(0x0a, 0x106, 0), (0, 1));
    assert_eq!(feature(0x0a, 0x306, 0), (0, 4));
    assert_eq!(feature(0x09, 0x8000_0006, 1), (0x10d, 0));
    assert_eq!(feature(0x09, 0x09, 0x0001_0040), (0, 0));
    assert_eq!(feature(0x0a, 0x09, 0x40), (0, 0x0001_0040));
    assert_eq!(feature(0x0a, 0x09, 0x41), (INVALID_FIELD, 0));
    assert_eq!(feature(0x0a, 0x04, 0), (0, 0x157));
    assert_eq!(feature(0x0a, 0xff, 0), (INVALID_FIELD, 0));
    assert_eq!(feature(0x0a, 0x406, 0), (INVALID_FIELD, 0));
    driver.poke(page, &1_700_000_000_000u64.to_le_bytes());
    let mut feature =
        |opcode| driver.order(&mut admin, Order::new(opcode).prp([page, 0]).word(10, 0x0e)).status;
    assert_eq!((feature(0x09), feature(0x0a)), (0, 0));
    let time = driver.peek(page, 8);
    assert_eq!(time[6], 2);
    let milliseconds = u64::from_le_bytes([time[0], time[1], time[2], time[3], time[4], time[5], 0, 0]);
    assert!((1_700_000_000_000..1_700_000_100_000).contains(&milliseconds));
}

#[test]
fn has_logs() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let page = driver.pages(1);
    let mut log = |id: u32, words: u32, offset: u32| {
        let order = Order::new(0x02).namespace(u32::MAX).prp([page, 0]).word(10, id | (words - 1) << 16);
        let status = driver.order(&mut admin, order.word(12, offset)).status;
        (status, driver.peek(page, 4096))
    };
    let (status, health) = log(0x02, 128, 0);
    assert_eq!((status, health[1], health[2], health[3]), (0, 0x43, 0x01, 100));
    let (status, effects) = log(0x05, 1024, 0);
    assert_eq!(
        (status, effects[6 * 4], effects[1024 + 4], effects[1024 + 8], effects[3 * 4]),
        (0, 1, 3, 1, 0)
    );
    assert_eq!(log(0x03, 128, 0).1[8..16], *b"1.0     ");
    assert_eq!(log(0x77, 128, 0).0, 0x109);
    assert_eq!(log(0x02, 128, 516).0, INVALID_FIELD);
    assert_eq!(log(0x02, 128, 512).0, 0);
    assert_eq!(log(0x02, 128, 2).0, INVALID_FIELD);
    assert_eq!(log(0x02, 0x10000, 0).0, 0);
    let (status, errors) = log(0x01, 64, 0);
    assert_eq!((status, errors[0], errors[12]), (0, 3, 0x04));
}

#[test]
fn tells_of_bad_doorbells() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let page = driver.pages(1);
    let first = driver.put(&mut admin, Order::new(0x0c));
    driver.ring(&admin);
    assert_eq!(driver.take(&mut admin), None);
    driver.write32(0x1000, 16);
    let told = driver.answer(&mut admin);
    assert_eq!((told.command, told.status, told.result), (first, 0, 0x0001_0100));
    // The next one waits until the log was read.
    let second = driver.put(&mut admin, Order::new(0x0c));
    driver.ring(&admin);
    driver.write32(0x1008, 1);
    assert_eq!(driver.take(&mut admin), None);
    driver.put(&mut admin, Order::new(0x02).prp([page, 0]).word(10, 0x000f_0001));
    driver.ring(&admin);
    assert_eq!(driver.answer(&mut admin).result, 0);
    let told = driver.answer(&mut admin);
    assert_eq!((told.command, told.result), (second, 0x0001_0000));
}

#[test]
fn keeps_few_event_requests_and_gives_them_up() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    let ids: Vec<u16> = (0..4).map(|_| driver.put(&mut admin, Order::new(0x0c))).collect();
    let fifth = driver.put(&mut admin, Order::new(0x0c));
    driver.ring(&admin);
    let refused = driver.answer(&mut admin);
    assert_eq!((refused.command, refused.status), (fifth, 0x105));
    let abort = driver.put(&mut admin, Order::new(0x08).word(10, u32::from(ids[2]) << 16));
    driver.ring(&admin);
    let done = driver.answer(&mut admin);
    assert_eq!((done.command, done.result), (abort, 0));
    let aborted = driver.answer(&mut admin);
    assert_eq!((aborted.command, aborted.status), (ids[2], 0x007));
    assert_eq!(driver.order(&mut admin, Order::new(0x08).word(10, 77 << 16)).result, 1);
    assert_eq!(driver.order(&mut admin, Order::new(0x77)).status, 0x001);
}
