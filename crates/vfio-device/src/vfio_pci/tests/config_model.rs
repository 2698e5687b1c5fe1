//! Random configuration accesses against a plain model: one byte at a time, each with its writable bits.

use proptest::prelude::*;

use super::{open, open_edu, read_config};
use crate::mock::rich_spec;
use crate::ops::VfioDeviceOps;

const CONFIG: u32 = 7;

/// What a byte of `edu`'s configuration space keeps of a write.
fn kept(at: usize) -> u8 {
    match at {
        // Memory, I/O and bus master enable; SERR and the bit that holds the line down.
        0x04 => 0x07,
        0x05 => 0x05,
        // Cache line size and interrupt line.
        0x0c | 0x3c => 0xff,
        // A BAR of 1 MiB.
        0x12 => 0xf0,
        0x13 => 0xff,
        // MSI: neither enabled nor granted vectors by a write; the upper half of control is reserved.
        0x42 => 0x8e,
        0x44..=0x4d => 0xff,
        // Behind the capability nothing is in the way.
        0x4e.. => 0xff,
        _ => 0,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Vec<u8>),
    Read(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    // More often where the registers are.
    let place = prop_oneof![3 => 0usize..0x50, 1 => 0usize..0x104];
    prop_oneof![
        (place.clone(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Step::Write(at, bytes)),
        (place, 1usize..12).prop_map(|(at, len)| Step::Read(at, len)),
    ]
}

proptest! {
    #[test]
    fn every_access_is_as_good_as_one_byte_at_a_time(steps in prop::collection::vec(step(), 1..60)) {
        let (device, _) = open_edu();
        let mut model = read_config(&device, 0, 256);
        let hardware = device.function().config_u32(0x10);
        for step in steps {
            match step {
                Step::Write(at, bytes) => {
                    let fits = at + bytes.len() <= 256;
                    prop_assert_eq!(device.write(CONFIG, at as u64, &bytes).is_ok(), fits);
                    for (at, value) in (at..).zip(&bytes).filter(|_| fits) {
                        model[at] = model[at] & !kept(at) | value & kept(at);
                    }
                }
                Step::Read(at, len) => {
                    let mut bytes = vec![0; len];
                    let read = device.read(CONFIG, at as u64, &mut bytes);
                    prop_assert_eq!(read.is_ok(), at + len <= 256);
                    if read.is_ok() {
                        prop_assert_eq!(&bytes, &model[at..at + len]);
                    }
                }
            }
            prop_assert_eq!(read_config(&device, 0, 256), model.clone());
            prop_assert_eq!(device.function().config_u32(0x10), hardware);
        }
        device.close_device();
        device.open_device(None).unwrap();
        prop_assert_eq!(read_config(&device, 4, 2), [0x03, 0x01]);
        prop_assert_eq!(read_config(&device, 0x3c, 2), [10, 1]);
    }

    #[test]
    fn what_identifies_a_function_cannot_be_written(
        writes in prop::collection::vec((0u64..0x1000, prop::collection::vec(any::<u8>(), 1..9)), 1..40),
    ) {
        let (device, _) = open(rich_spec());
        let identity = |device: &super::VfioPci| {
            let mut parts = read_config(device, 0, 4);
            for (at, len) in [(8, 4), (0x0e, 1), (0x2c, 4), (0x34, 1), (0x3d, 1), (0x40, 2), (0x60, 2), (0x68, 2), (0x80, 2)] {
                parts.extend(read_config(device, at, len));
            }
            parts
        };
        let before = identity(&device);
        let hardware = (device.function().config_u32(0x10), device.function().config_u32(0x18));
        for (at, bytes) in writes {
            let _ = device.write(CONFIG, at, &bytes);
            prop_assert_eq!(identity(&device), before.clone());
        }
        prop_assert_eq!((device.function().config_u32(0x10), device.function().config_u32(0x18)), hardware);
        prop_assert_eq!(device.function().config_u16(0x42) & 0x8000, 0, "messages are not enabled by writes");
    }
}
