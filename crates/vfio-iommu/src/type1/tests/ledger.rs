//! The pin ledger against a map of counts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vfio_memory::HostSpan;

use super::super::ledger::Ledger;
use super::*;

/// A little more than three chunks.
const PAGES: u64 = 6500;

#[derive(Debug, Clone)]
enum Step {
    /// Pins memory that begins at page `offset` of one of two objects.
    Pin {
        first: u64,
        pages: u64,
        object: usize,
        offset: u64,
    },
    Unpin {
        first: u64,
        pages: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![1_u64..4, 1_u64..PAGES];
    prop_oneof![
        (0..PAGES, len(), 0..2_usize, 0_u64..3).prop_map(|(first, pages, object, offset)| Step::Pin {
            first,
            pages,
            object,
            offset
        }),
        (0..PAGES, len()).prop_map(|(first, pages)| Step::Unpin { first, pages }),
    ]
}

proptest! {
    #[test]
    fn counts_and_memory_are_kept_by_page(steps in prop::collection::vec(step(), 1..24)) {
        let objects = [(); 2].map(|()| Memory::anonymous((3 * PAGES) * PAGE_SIZE).unwrap());
        let mut ledger = Ledger::default();
        let mut plain: BTreeMap<u64, (u32, usize, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pin { first, pages, object, offset } => {
                    let start = (first + offset) * PAGE_SIZE;
                    let memory = objects[object].clone();
                    ledger.pin(first, &HostSpan { memory, offset: start, len: pages * PAGE_SIZE });
                    for page in first..first + pages {
                        plain.entry(page).or_insert((0, object, (page + offset) * PAGE_SIZE)).0 += 1;
                    }
                }
                Step::Unpin { first, pages } => {
                    let mut freed = Vec::new();
                    ledger.unpin(first..first + pages, |run| freed.extend(run));
                    let before: Vec<u64> = plain.range(first..first + pages).map(|(page, _)| *page).collect();
                    let gone = |page: &u64| plain[page].0 == 1;
                    prop_assert_eq!(freed, before.iter().copied().filter(gone).collect::<Vec<_>>());
                    for page in before {
                        plain.get_mut(&page).unwrap().0 -= 1;
                    }
                    plain.retain(|_, (count, ..)| *count > 0);
                }
            }
            prop_assert_eq!(ledger.is_empty(), plain.is_empty());
            let part = PAGES / 3..PAGES;
            prop_assert_eq!(ledger.count(part.clone()), plain.range(part.clone()).count() as u64);
            let pinned: Vec<u64> = ledger.pinned_in(part.clone()).flatten().collect();
            prop_assert_eq!(pinned, plain.range(part).map(|(page, _)| *page).collect::<Vec<_>>());
            for page in (0..2 * PAGES).step_by(97) {
                let want = plain.get(&page).map(|(_, object, offset)| (objects[*object].object_id(), *offset));
                let got = ledger.memory_of(page).map(|span| (span.memory.object_id(), span.offset));
                prop_assert_eq!(got, want);
                prop_assert_eq!(ledger.is_pinned(page), want.is_some());
            }
        }
    }
}
