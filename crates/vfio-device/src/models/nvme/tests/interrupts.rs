use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::driver::{Driver, Order, Pair, config};
use crate::pci::InterruptSink;
use crate::pci::registers::STATUS;

fn line(driver: &Driver) -> bool {
    driver.function.config_u16(STATUS) & 8 != 0
}

#[test]
fn the_line_stays_asserted_until_everything_was_looked_at() {
    let mut driver = Driver::new(config());
    driver.function.request_line(true).run(&driver.function);
    let mut admin = driver.enable(16);
    driver.put(&mut admin, Order::new(0x08));
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    assert!(line(&driver));
    assert_eq!(*driver.heard.lines.lock(), 1);
    driver.take(&mut admin).expect("the first is done");
    driver.acknowledge(&admin);
    assert!(line(&driver));
    driver.write32(0x0c, 1);
    assert!(!line(&driver));
    assert_eq!(driver.read32(0x0c), 1);
    driver.write32(0x10, 1);
    assert!(line(&driver));
    driver.take(&mut admin).expect("the second is done");
    driver.acknowledge(&admin);
    assert!(!line(&driver));
}

#[test]
fn a_reset_lets_the_line_go() {
    let mut driver = Driver::new(config());
    let mut admin = driver.enable(16);
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    assert!(line(&driver));
    driver.write32(0x14, 0);
    assert!(!line(&driver));
    let mut admin = driver.enable(16);
    driver.put(&mut admin, Order::new(0x08));
    driver.ring(&admin);
    assert!(line(&driver));
    driver.function.try_reset().expect("there is a way");
    assert!(!line(&driver));
    assert_eq!(driver.status(), 0);
}

#[test]
fn every_queue_has_its_message() {
    let mut driver = Driver::new(config());
    driver.function.enable_msix().run(&driver.function);
    (0..65).for_each(|vector| driver.function.mask_msix(vector, false).run(&driver.function));
    let mut admin = driver.enable(16);
    let mut one = driver.create(&mut admin, 1, 16, Some(1));
    let mut far = driver.create(&mut admin, 64, 16, Some(64));
    let mut quiet = driver.create(&mut admin, 2, 16, None);
    assert!(driver.heard.messages.lock().drain(..).all(|vector| vector == 0));
    assert_eq!(driver.order(&mut one, Order::new(0).namespace(1)).status, 0);
    assert_eq!(driver.order(&mut far, Order::new(0).namespace(1)).status, 0);
    assert_eq!(driver.order(&mut quiet, Order::new(0).namespace(1)).status, 0);
    assert_eq!(*driver.heard.messages.lock(), [1, 64]);
    assert!(!line(&driver));
}

/// Looks at the completion on another thread while the interrupt that tells of it is being sent.
struct Quick {
    host: Mutex<Option<(Driver, Pair)>>,
    line_afterwards: Mutex<Option<bool>>,
}

impl InterruptSink for Quick {
    fn line_asserted(&self) {
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Some((driver, pair)) = &mut *self.host.lock() {
                    driver.take(pair).expect("the command is done");
                    driver.acknowledge(pair);
                    *self.line_afterwards.lock() = Some(line(driver));
                }
            });
        });
    }

    fn message(&self, _vector: u32) {}
}

#[test]
fn the_line_is_let_go_at_once_by_whoever_looked_at_everything() {
    let mut driver = Driver::new(config());
    driver.function.request_line(true).run(&driver.function);
    let mut admin = driver.enable(16);
    driver.put(&mut admin, Order::new(0x08));
    let function = Arc::clone(&driver.function);
    let quick =
        Arc::new(Quick { host: Mutex::new(Some((driver, admin))), line_afterwards: Mutex::new(None) });
    let weak = Arc::downgrade(&quick);
    function.claim(Some(weak));
    function.request_line(true).run(&function);
    function.bar_write(0, 0x1000, &1u32.to_le_bytes()).expect("doorbells take everything");
    assert_eq!(*quick.line_afterwards.lock(), Some(false));
}
