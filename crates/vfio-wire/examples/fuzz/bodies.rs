//! Requests as a client would send them, with numbers that are right most of the time.

use vfio_wire::message::{
    Command, DeviceInfoBody, DmaCopy, DmaMap, DmaUnmap, FeatureBody, Fields, IrqInfoBody, MigrationData,
    RegionAccess, RegionFdsBody, RegionInfoBody, SetIrqsBody, put_u64,
};

use crate::card::{BELL, REGISTERS, VECTORS};
use crate::chance::Chance;
use crate::objects::{PAGE, PAGES};

/// Where memory is lent.
const PLACES: [u64; 4] = [0, 0x10_0000, 0xffff_f000, 0xffff_ffff_fff0_0000];

pub(crate) const COMMANDS: [Command; 18] = [
    Command::DmaMap,
    Command::DmaMap,
    Command::DmaMap,
    Command::DmaUnmap,
    Command::RegionWrite,
    Command::RegionWrite,
    Command::RegionWrite,
    Command::RegionRead,
    Command::RegionWriteMulti,
    Command::DeviceGetInfo,
    Command::DeviceGetRegionInfo,
    Command::DeviceGetRegionIoFds,
    Command::DeviceGetIrqInfo,
    Command::DeviceSetIrqs,
    Command::DeviceSetIrqs,
    Command::DeviceReset,
    Command::DeviceFeature,
    Command::MigDataRead,
];

pub(crate) fn iova(chance: &mut Chance) -> u64 {
    chance.pick(&PLACES).wrapping_add(PAGE * chance.below(8) as u64)
}

/// The body of a request, and where a map lends memory for writing.
pub(crate) fn body(chance: &mut Chance, command: Command) -> (Vec<u8>, Option<(u64, u64)>) {
    let mut body = Vec::new();
    let mut lends = None;
    let argsz = |chance: &mut Chance, likely: u32| chance.number(likely.into()) as u32;
    match command {
        Command::DmaMap => {
            let (pages, at) = (1 + chance.below(6) as u64, chance.below(PAGES as usize) as u64);
            let map = DmaMap {
                argsz: argsz(chance, DmaMap::SIZE),
                flags: chance.pick(&[3, 3, 3, 1, 2, 0, 4, u32::MAX]),
                offset: chance.number(at.min(PAGES - pages) * PAGE),
                iova: {
                    let place = iova(chance);
                    chance.number(place)
                },
                size: chance.number(pages * PAGE),
            };
            map.write(&mut body);
            lends = (map.flags & 2 != 0).then_some((map.offset, map.size));
        }
        Command::DmaUnmap => {
            let argsz = argsz(chance, DmaUnmap::SIZE);
            let (iova, pages) = (iova(chance), 1 + chance.below(16) as u64);
            let flags = chance.pick(&[0, 0, 0, 1, 2, 3, u32::MAX]);
            let (iova, size) = match chance.below(4) {
                0 => (0, 0),
                1 => (0, 1 << 63),
                _ => (chance.number(iova), chance.number(pages * PAGE)),
            };
            DmaUnmap { argsz, flags, iova, size }.write(&mut body);
            if flags & 1 != 0 {
                put_u64(&mut body, chance.number(PAGE));
                put_u64(&mut body, chance.number(8));
            }
        }
        Command::DeviceGetInfo => {
            DeviceInfoBody { argsz: argsz(chance, 16), flags: 0, num_regions: 0, num_irqs: 0 }
                .write(&mut body);
        }
        Command::DeviceGetRegionInfo => {
            let index = {
                let near = chance.index(3);
                chance.number(near)
            } as u32;
            let argsz = argsz(chance, 32);
            RegionInfoBody { argsz, flags: 0, index, cap_offset: 0, size: 0, offset: 0 }.write(&mut body);
        }
        Command::DeviceGetRegionIoFds => {
            let (argsz, index) = (argsz(chance, 56), chance.number(0) as u32);
            RegionFdsBody { argsz, flags: chance.pick(&[0, 0, 1]), index, count: 0 }.write(&mut body);
        }
        Command::DeviceGetIrqInfo => {
            let (argsz, index) = (argsz(chance, 16), chance.number(0) as u32);
            IrqInfoBody { argsz, flags: 0, index, count: 0 }.write(&mut body);
        }
        Command::DeviceSetIrqs => {
            let flags =
                chance.pick(&[0x24, 0x24, 0x24, 0x21, 0x22, 0x09, 0x0a, 0x0c, 0x11, 0x14, 0x3f, 0, u32::MAX]);
            let count = {
                let near = chance.index(VECTORS as usize + 1);
                chance.number(near)
            } as u32;
            let (argsz, index) = (argsz(chance, 20), chance.number(0) as u32);
            let start = {
                let near = chance.index(VECTORS as usize);
                chance.number(near)
            } as u32;
            SetIrqsBody { argsz, flags, index, start, count }.write(&mut body);
            if flags & 2 != 0 {
                body.extend(chance.bytes(count.min(16) as usize));
            }
        }
        Command::RegionRead => {
            let offset = chance.pick(&[0, 8, 0x800, 0x1000, 0x1ff8, REGISTERS - 1]);
            let count = {
                let near = chance.index(64);
                chance.number(near)
            } as u32;
            RegionAccess { offset: chance.number(offset), region: chance.index(3) as u32, count }
                .write(&mut body);
        }
        Command::RegionWrite => {
            let data = if chance.one_in(2) {
                iova(chance).wrapping_add(8).to_ne_bytes().to_vec()
            } else {
                chance.bytes(64)
            };
            let offset = chance.pick(&[0, 0, 8, BELL, 0x1000, REGISTERS - 1]);
            let region = if chance.one_in(3) { chance.index(3) as u32 } else { 0 };
            let (offset, count) = (chance.number(offset), chance.number(data.len() as u64) as u32);
            RegionAccess { offset, region, count }.write(&mut body);
            body.extend(data);
        }
        Command::RegionWriteMulti => {
            let count = chance.below(6) as u64;
            put_u64(&mut body, chance.number(count));
            for _ in 0..count {
                let offset = {
                    let near = chance.index(64) & !7;
                    chance.number(near)
                };
                let access = RegionAccess { offset, region: 0, count: chance.number(8) as u32 };
                access.write(&mut body);
                put_u64(&mut body, iova(chance));
            }
        }
        Command::DeviceFeature => {
            let number = {
                let near = chance.index(12);
                chance.number(near)
            } as u32
                & 0xffff;
            let flags = number | chance.pick(&[0x1_0000, 0x2_0000, 0x4_0000, 0x6_0000, 0x3_0000, 0]);
            FeatureBody { argsz: argsz(chance, 64), flags }.write(&mut body);
            for _ in 0..chance.below(6) {
                let place = iova(chance);
                put_u64(&mut body, chance.number(place));
            }
        }
        Command::MigDataRead | Command::MigDataWrite => {
            let size = chance.number(64) as u32;
            MigrationData { argsz: argsz(chance, 72), size }.write(&mut body);
        }
        _ => body = chance.bytes(40),
    }
    (body, lends)
}

/// The answer to a request of the server's for memory.
pub(crate) fn copied(asked: &[u8], read: bool) -> Vec<u8> {
    let mut fields = Fields::new(asked);
    let (iova, count) = (fields.u64().unwrap_or(0), fields.u64().unwrap_or(0));
    let mut body = Vec::new();
    DmaCopy { iova, count }.write(&mut body);
    if read {
        body.resize(DmaCopy::SIZE + count.min(1 << 20) as usize, 0x11);
    }
    body
}
