//! The table against a plain model: one map entry per page.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use vfio_memory::{Memory, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use crate::{Access, FaultReason, IoPageTable, IovaRange};

/// What the test does, in pages of a few places far apart.
#[derive(Debug, Clone)]
enum Step {
    Map { at: u64, pages: u64, object: usize, page: u64, prot: Prot },
    Unmap { at: u64, pages: u64 },
    Look { at: u64 },
}

const OBJECT_PAGES: u64 = 1600;

/// Bases that make roots of every height, and neighbours at every level.
const BASES: [u64; 8] = [
    0,
    0x20_0000,
    0x4000_0000 - 0x8000,
    0x1_0000_0000,
    (1 << 39) - 0x40_0000,
    1 << 47,
    0xffff_8000_0000_0000,
    u64::MAX - (OBJECT_PAGES * PAGE_SIZE * 2 - 1),
];

fn place() -> impl Strategy<Value = u64> {
    let near = 0..OBJECT_PAGES;
    (any::<Index>(), prop_oneof![near, 0..12_u64, Just(512), Just(1024)])
        .prop_map(|(base, page)| BASES[base.index(BASES.len())] + page * PAGE_SIZE)
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![5 => 1..4_u64, 2 => 1..600_u64, 1 => Just(512), 1 => Just(1024)]
}

fn prot() -> impl Strategy<Value = Prot> {
    prop_oneof![1 => Just(Prot::READ), 1 => Just(Prot::WRITE), 4 => Just(Prot::RW)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (place(), length(), 0..3_usize, 0..OBJECT_PAGES, prot())
            .prop_map(|(at, pages, object, page, prot)| Step::Map { at, pages, object, page, prot }),
        3 => (place(), length()).prop_map(|(at, pages)| Step::Unmap { at, pages }),
        2 => place().prop_map(|at| Step::Look { at }),
    ]
}

#[derive(Default)]
struct Model {
    pages: BTreeMap<u64, (u64, Prot)>,
}

impl Model {
    fn look(&self, iova: u64, access: Access) -> Result<u64, FaultReason> {
        match self.pages.get(&(iova / PAGE_SIZE)) {
            None => Err(FaultReason::NoMapping),
            Some((_, prot)) if !prot.contains(access.prot()) => Err(FaultReason::Permission),
            Some((host, _)) => Ok(host + iova % PAGE_SIZE),
        }
    }
}

fn compare(table: &IoPageTable, model: &Model, iova: u64) {
    let reader = table.reader();
    for access in [Access::Read, Access::Write] {
        let expected = model.look(iova, access);
        let answer = reader.translate(iova, access);
        assert_eq!(answer.map(|answer| answer.host).map_err(|fault| fault.reason), expected, "at {iova:#x}");
        if let Ok(answer) = answer {
            // The length promised is mapped to contiguous memory, and with the same right.
            let last = iova + (answer.len.min(OBJECT_PAGES * PAGE_SIZE) - 1);
            assert_eq!(model.look(last, access), Ok(answer.host + (last - iova)), "at {last:#x}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 192 }, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_map_of_pages(steps in proptest::collection::vec(step(), 1..120), shift in 0..4096_u64) {
        let table = IoPageTable::new();
        let mut model = Model::default();
        // The second object is mapped from an odd address, as a JavaScript buffer may be.
        let objects: Vec<(Memory, u64)> =
            [0, shift, 0].map(|shift| (Memory::anonymous((OBJECT_PAGES + 1025) * PAGE_SIZE).unwrap(), shift)).into();
        for step in steps {
            match step {
                Step::Map { at, pages, object, page, prot } => {
                    let (memory, shift) = &objects[object];
                    let range = IovaRange::sized(at, pages * PAGE_SIZE);
                    let Some(range) = range else { continue };
                    let first = at / PAGE_SIZE;
                    let offset = page * PAGE_SIZE + shift;
                    let taken = model.pages.range(first..=range.last() / PAGE_SIZE).next().is_some();
                    let expected = if taken { Err(Errno::EEXIST) } else { Ok(()) };
                    prop_assert_eq!(table.map(range, memory, offset, prot), expected);
                    if !taken {
                        let host = memory.stable_ptr().unwrap().addr() as u64 + offset;
                        model.pages.extend((0..pages).map(|n| (first + n, (host + n * PAGE_SIZE, prot))));
                    }
                }
                Step::Unmap { at, pages } => {
                    let Some(range) = IovaRange::sized(at, pages * PAGE_SIZE) else { continue };
                    let inside: Vec<u64> = model
                        .pages
                        .range(at / PAGE_SIZE..=range.last() / PAGE_SIZE)
                        .map(|(page, _)| *page)
                        .collect();
                    model.pages.retain(|page, _| !inside.contains(page));
                    prop_assert_eq!(table.unmap(range), Ok(inside.len() as u64 * PAGE_SIZE));
                    compare(&table, &model, at);
                    compare(&table, &model, range.last());
                }
                Step::Look { at } => compare(&table, &model, at + 8),
            }
        }
        for page in model.pages.keys() {
            compare(&table, &model, page * PAGE_SIZE);
        }
        let pages: Vec<u64> = model.pages.keys().copied().collect();
        for page in pages {
            for near in [page.wrapping_sub(1), page + 1] {
                compare(&table, &model, near.wrapping_mul(PAGE_SIZE));
            }
        }
        prop_assert_eq!(table.unmap(IovaRange::ALL), Ok(model.pages.len() as u64 * PAGE_SIZE));
        prop_assert_eq!(table.memory_usage(), 0);
        for (memory, _) in &objects {
            prop_assert_eq!(memory.handles(), 1, "the table let go of the memory");
        }
    }
}
