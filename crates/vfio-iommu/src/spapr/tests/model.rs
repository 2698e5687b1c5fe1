//! Random histories against maps that say the same in the plainest way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vfio_uapi::Errno;

use super::*;

const START: u64 = 0x1000_0000;
const ENTRIES: u64 = 256;
/// Small pages of the process' memory, and a few beyond it.
const UNITS: u64 = RAM_PAGES * PAGE / SMALL;

#[derive(Debug, Clone)]
enum Step {
    Register { from: u64, pages: u64 },
    Hold { from: u64, pages: u64 },
    Put { from: u64, pages: u64 },
    Map { at: u64, from: u64, pages: u64, prot: u8 },
    Unmap { at: u64, pages: u64 },
    Unprotect { from: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..RAM_PAGES, 1..4_u64);
    prop_oneof![
        range().prop_map(|(from, pages)| Step::Register { from, pages }),
        range().prop_map(|(from, pages)| Step::Hold { from, pages }),
        range().prop_map(|(from, pages)| Step::Put { from, pages }),
        (0..ENTRIES, 0..UNITS, 0..40_u64, 0..4_u8).prop_map(|(at, from, pages, prot)| Step::Map {
            at,
            from,
            pages,
            prot
        }),
        (0..ENTRIES, 0..80_u64).prop_map(|(at, pages)| Step::Unmap { at, pages }),
        (0..RAM_PAGES).prop_map(|from| Step::Unprotect { from }),
    ]
}

/// A region: holders, and length in pages.
#[derive(Debug, Clone, Copy)]
struct Held {
    pages: u64,
    used: u64,
}

/// What a table should be: by entry, the small page of memory and the rights.
#[derive(Debug, Default)]
struct Plain {
    entries: BTreeMap<u64, (u64, u8)>,
    regions: BTreeMap<u64, Held>,
    read_only: Vec<u64>,
}

impl Plain {
    fn region_of(&self, unit: u64) -> Option<u64> {
        let page = unit * SMALL / PAGE;
        let (from, held) = self.regions.range(..=page).next_back()?;
        (page < from + held.pages).then_some(*from)
    }

    fn mapped(&self, from: u64) -> usize {
        self.entries.values().filter(|(unit, _)| self.region_of(*unit) == Some(from)).count()
    }

    fn map(&mut self, registered: bool, at: u64, from: u64, pages: u64, prot: u8) -> Result<(), Errno> {
        if prot == 0 || at + pages > ENTRIES {
            return Err(Errno::EINVAL);
        }
        let good = |unit: u64| {
            let page = unit * SMALL / PAGE;
            if registered {
                self.region_of(unit).is_some()
            } else {
                page < RAM_PAGES && !self.read_only.contains(&page)
            }
        };
        let bad = (0..pages).find(|page| !good(from + page));
        for page in 0..bad.unwrap_or(pages) {
            match bad {
                Some(_) => self.entries.remove(&(at + page)),
                None => self.entries.insert(at + page, (from + page, prot)),
            };
        }
        match bad {
            Some(_) if registered => Err(Errno::EINVAL),
            Some(_) => Err(Errno::EFAULT),
            None => Ok(()),
        }
    }

    fn charged(&self) -> u64 {
        self.regions.values().map(|held| held.pages).sum()
    }
}

fn play(registered: bool, steps: Vec<Step>) {
    let machine = Machine::new();
    let table = machine.table(registered, 12, ENTRIES);
    let (_, space) = device(&[&table], false);
    let (memory, mm) = (machine.memory(), &machine.mm);
    let mut plain = Plain::default();
    for step in steps {
        match step {
            Step::Register { from, pages } => {
                let missing = (from + pages).saturating_sub(RAM_PAGES);
                let locked = (from..from + pages).find(|page| plain.read_only.contains(page));
                let there = locked.unwrap_or(RAM_PAGES.min(from + pages)) - from;
                let overlaps =
                    plain.regions.iter().any(|(at, held)| *at < from + pages && from < at + held.pages);
                let made = memory.register(mm, machine.ram + from * PAGE, pages * PAGE);
                if there == 0 {
                    assert_eq!(made, Err(Errno::EFAULT));
                } else if missing > 0 || there < pages {
                    assert_eq!(made, Ok(Registration::Partial(there)));
                } else if overlaps {
                    assert_eq!(made, Err(Errno::EINVAL));
                } else {
                    assert!(matches!(made, Ok(Registration::Made(_))));
                    plain.regions.insert(from, Held { pages, used: 1 });
                }
            }
            Step::Hold { from, pages } => {
                let id = memory.find(machine.ram + from * PAGE, pages * PAGE);
                let known = plain.regions.get_mut(&from).filter(|held| held.pages == pages);
                assert_eq!(id.is_some(), known.is_some());
                if let (Some(id), Some(held)) = (id, known) {
                    memory.get(id).unwrap();
                    held.used += 1;
                }
            }
            Step::Put { from, pages } => {
                let Some(id) = memory.find(machine.ram + from * PAGE, pages * PAGE) else { continue };
                let live = if registered { plain.mapped(from) } else { 0 };
                let held = plain.regions.get_mut(&from).unwrap();
                held.used -= 1;
                let expected = if held.used == 0 && live > 0 { Err(Errno::EBUSY) } else { Ok(()) };
                if held.used == 0 && live > 0 {
                    held.used = 1;
                } else if held.used == 0 {
                    plain.regions.remove(&from);
                }
                assert_eq!(memory.put(mm, id, true), expected);
            }
            Step::Map { at, from, pages, prot } => {
                let rights = Prot::from_bits_truncate(prot);
                let result = table.map(START + at * SMALL, machine.ram + from * SMALL, pages, rights);
                assert_eq!(result, plain.map(registered, at, from, pages, prot));
            }
            Step::Unmap { at, pages } => {
                let inside = at + pages <= ENTRIES;
                assert_eq!(table.unmap(START + at * SMALL, pages).is_ok(), inside);
                if inside {
                    plain.entries.retain(|entry, _| *entry < at || *entry >= at + pages);
                }
            }
            Step::Unprotect { from } => {
                mm.protect(machine.ram + from * PAGE, PAGE, Prot::READ).unwrap();
                plain.read_only.push(from);
            }
        }
        assert_eq!(mm.locked().locked_pages(), plain.charged());
        for entry in 0..ENTRIES {
            let iova = START + entry * SMALL + 40;
            let (unit, prot) = plain.entries.get(&entry).copied().unwrap_or_default();
            let tce = table.entry(iova).unwrap();
            assert_eq!(tce.prot().bits(), prot);
            let mut byte = [0xff];
            assert_eq!(space.read(iova, &mut byte).is_ok(), prot & 1 != 0);
            if prot & 1 != 0 {
                assert_eq!(byte[0], unit as u8);
            }
        }
    }
    table.clear();
    if !registered {
        let regions = memory.len();
        assert_eq!(memory.real().pinned_objects(), usize::from(regions > 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn registered_tables_are_a_map(steps in prop::collection::vec(step(), 1..40)) {
        play(true, steps);
    }

    #[test]
    fn pinned_tables_are_a_map(steps in prop::collection::vec(step(), 1..40)) {
        play(false, steps);
    }
}
