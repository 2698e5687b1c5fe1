use super::driver::{CC_ENABLE, Driver, Order, PAGE, config};
use super::space::{RAM_SIZE, RAM_START};
use crate::pci::ResetKind;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Something that a guest does.
#[derive(Debug, Clone)]
enum Deed {
    Write { offset: u64, len: usize, value: u64 },
    Read { offset: u64, len: usize },
    Doorbell { number: u64, value: u32 },
    Enable,
    Disable,
    Admin(Order, u8),
    Io(Order, u8),
    Scribble { at: u64, seed: u64 },
    Reset,
    Config { offset: u16, value: u32 },
}

/// Addresses that are likely to be of interest.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..RAM_SIZE / PAGE).prop_map(|page| RAM_START + page * PAGE),
        2 => (0..RAM_SIZE).prop_map(|at| RAM_START + at),
        1 => any::<u64>(),
        1 => (0..32u64).prop_map(|low| u64::MAX - low),
        1 => Just(u64::MAX - 4095),
        1 => Just(RAM_START + RAM_SIZE - 8),
    ]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..5u32, 1 => any::<u32>(), 1 => any::<u16>().prop_map(u32::from), 1 => (0..5u32).prop_map(|low| 0xf_0000 | low)]
}

fn order(opcodes: &'static [u8]) -> impl Strategy<Value = Order> {
    let opcode = prop_oneof![8 => prop::sample::select(opcodes), 1 => any::<u8>()];
    let namespace = prop_oneof![8 => Just(1u32), 1 => Just(u32::MAX), 1 => number()];
    let words = prop::array::uniform6(prop_oneof![3 => number(), 2 => Just(0u32), 1 => Just(0x0001_0001u32)]);
    (opcode, namespace, [address(), address()], words).prop_map(|(opcode, namespace, prp, words)| Order {
        opcode,
        namespace,
        prp,
        words,
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    let offset = prop_oneof![4 => 0..0x60u64, 1 => 0x1000..0x1020u64, 1 => 0..0x4000u64 - 8];
    let value = prop_oneof![any::<u64>(), address(), Just(u64::from(CC_ENABLE)), Just(0x0007_0007u64)];
    let len = prop::sample::select(&[1usize, 2, 4, 4, 4, 8, 8][..]);
    prop_oneof![
        2 => (offset.clone(), len.clone(), value).prop_map(|(offset, len, value)| Deed::Write { offset, len, value }),
        1 => (offset, len).prop_map(|(offset, len)| Deed::Read { offset, len }),
        3 => (0..8u64, number()).prop_map(|(number, value)| Deed::Doorbell { number, value }),
        1 => Just(Deed::Enable),
        1 => Just(Deed::Disable),
        6 => (order(&[0, 1, 2, 4, 5, 6, 8, 9, 10, 12]), any::<u8>()).prop_map(|(order, flags)| Deed::Admin(order, flags)),
        6 => (order(&[0, 1, 2, 8, 9]), any::<u8>()).prop_map(|(order, flags)| Deed::Io(order, flags)),
        1 => (address(), any::<u64>()).prop_map(|(at, seed)| Deed::Scribble { at, seed }),
        1 => Just(Deed::Reset),
        1 => (prop::sample::select(&[4u16, 0x10, 0x42, 0x64, 0x88][..]), any::<u32>())
            .prop_map(|(offset, value)| Deed::Config { offset, value }),
    ]
}

fn run(mut driver: Driver, deeds: Vec<Deed>) {
    let start = Instant::now();
    let mut admin = driver.enable(8);
    let mut pair = driver.create(&mut admin, 1, 8, None);
    for deed in deeds {
        match deed {
            Deed::Write { offset, len, value } => {
                let _ = driver.function.bar_write(0, offset, &value.to_le_bytes()[..len]);
            }
            Deed::Read { offset, len } => {
                let _ = driver.function.bar_read(0, offset, &mut vec![0; len]);
            }
            Deed::Doorbell { number, value } => driver.write32(0x1000 + number * 4, value),
            Deed::Enable => {
                driver.write32(0x24, 0x0007_0007);
                driver.write32(0x14, CC_ENABLE);
            }
            Deed::Disable => driver.write32(0x14, 0),
            Deed::Admin(order, flags) | Deed::Io(order, flags) => {
                let queue = if matches!(deed, Deed::Admin(..)) { &mut admin } else { &mut pair };
                let mut bytes = order.encode(7);
                bytes[1] = if flags < 16 { flags } else { 0 };
                driver.put_raw(queue, &bytes);
                driver.ring(queue);
                if driver.take(queue).is_some() {
                    driver.acknowledge(queue);
                }
            }
            Deed::Scribble { at, seed } => {
                let at = at.clamp(RAM_START, RAM_START + RAM_SIZE - 512);
                driver.poke(at, &super::driver::noise(seed, 512));
            }
            Deed::Reset => driver.function.reset(ResetKind::Function),
            Deed::Config { offset, value } => driver.function.config_write(offset, &value.to_le_bytes()),
        }
    }
    // Whatever happened, a reset makes a controller that works.
    driver.function.reset(ResetKind::Function);
    driver.function.config_write(4, &6u16.to_le_bytes());
    let mut admin = driver.enable(8);
    assert_eq!(driver.order(&mut admin, Order::new(0x08)).result, 1);
    assert!(start.elapsed() < Duration::from_secs(60));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_deed_leaves_a_controller_that_a_reset_repairs(deeds in prop::collection::vec(deed(), 1..120)) {
        run(Driver::new(config()), deeds);
    }

    #[test]
    fn any_deed_is_survived_by_messages_too(deeds in prop::collection::vec(deed(), 1..60)) {
        run(Driver::remote(config()).0, deeds);
    }
}
