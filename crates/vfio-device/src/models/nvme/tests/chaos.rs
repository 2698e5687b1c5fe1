use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::driver::{CC_ENABLE, Driver, Order, Pair, config, noise};
use crate::pci::ResetKind;

/// How long everybody does as he likes.
const SPELL: Duration = Duration::from_millis(400);

/// One thread resets, one stops and starts, one rings, one reads registers, all at once.
fn go_wild(mut driver: Driver) {
    let mut admin = driver.enable(16);
    let page = driver.pages(1);
    let pairs: Vec<Pair> = (1..4).map(|id| driver.create(&mut admin, id, 16, None)).collect();
    let over = AtomicBool::new(false);
    let spell = |mut deed: Box<dyn FnMut(u64) + '_>| {
        let mut round = 0;
        while !over.load(Ordering::Relaxed) {
            round += 1;
            deed(round);
        }
    };
    thread::scope(|scope| {
        let driver = &driver;
        let spell = &spell;
        for mut pair in pairs {
            scope.spawn(move || {
                spell(Box::new(|round| {
                    let order = Order::new(1 + (round % 2) as u8).namespace(1).prp([page, 0]);
                    driver.put(&mut pair, order.blocks(round % 1000, 8));
                    driver.ring(&pair);
                    if driver.take(&mut pair).is_some() {
                        driver.acknowledge(&pair);
                    }
                }));
            });
        }
        scope.spawn(move || {
            spell(Box::new(|round| {
                let stop = CC_ENABLE & !((round & 1) as u32);
                driver.write32(0x14, stop | ((round >> 1 & 1) as u32) << 14);
                thread::sleep(Duration::from_micros(round % 500));
            }));
        });
        scope.spawn(move || {
            spell(Box::new(|round| {
                driver.function.reset(ResetKind::Function);
                driver.function.config_write(4, &6u16.to_le_bytes());
                driver.write32(0x24, 0x000f_000f);
                driver.write64(0x28, super::space::RAM_START);
                driver.write64(0x30, super::space::RAM_START + 4096);
                driver.write32(0x14, CC_ENABLE);
                driver.poke(super::space::RAM_START, &noise(round, 512));
                driver.write32(0x1000, (round % 16) as u32);
                thread::sleep(Duration::from_micros(round * 7 % 900));
            }));
        });
        let start = Instant::now();
        while start.elapsed() < SPELL {
            driver.status();
        }
        over.store(true, Ordering::Relaxed);
    });
    driver.function.reset(ResetKind::Function);
    driver.function.config_write(4, &6u16.to_le_bytes());
    let mut admin = driver.enable(16);
    assert_eq!(driver.order(&mut admin, Order::new(0x08)).result, 1);
}

#[test]
fn whatever_happens_at_once_a_reset_repairs() {
    go_wild(Driver::new(config()));
}

#[test]
fn whatever_happens_at_once_by_messages_a_reset_repairs() {
    go_wild(Driver::remote(config()).0);
}
