//! The address space against a plain model: a map of pages and vectors of bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vfio_uapi::Errno;

use crate::{AddressSpace, Limits, Memory, PAGE_SIZE, Prot, TASK_SIZE};

const OBJECTS: usize = 2;
const OBJECT_PAGES: u64 = 6;
const BASE: u64 = 0x4000_0000;
const PAGES: u64 = 24;

#[derive(Debug, Clone)]
enum Step {
    Map { page: u64, pages: u64, object: usize, from: u64, prot: Prot },
    Unmap { page: u64, pages: u64 },
    Protect { page: u64, pages: u64, prot: Prot },
    Lock { addr: u64, len: u64, on: bool },
    Read { addr: u64, len: usize },
    Write { addr: u64, len: usize, byte: u8 },
    Find { addr: u64, len: u64, write: bool },
    Hostile { addr: u64, len: u64 },
}

fn address() -> impl Strategy<Value = u64> {
    (0..PAGES * PAGE_SIZE).prop_map(|offset| BASE + offset)
}

fn prot() -> impl Strategy<Value = Prot> {
    prop_oneof![Just(Prot::empty()), Just(Prot::READ), Just(Prot::WRITE), Just(Prot::RW)]
}

fn hostile() -> impl Strategy<Value = u64> {
    let edge = prop_oneof![Just(0), Just(TASK_SIZE), Just(1 << 47), Just(1 << 63), Just(u64::MAX)];
    prop_oneof![
        any::<u64>(),
        (edge, 0..0x2002_u64).prop_map(|(edge, off)| edge.wrapping_add(off).wrapping_sub(0x1001))
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let len = 0..3 * PAGE_SIZE;
    prop_oneof![
        4 => (0..PAGES, 1..5_u64, 0..OBJECTS, 0..OBJECT_PAGES, prot())
            .prop_map(|(page, pages, object, from, prot)| Step::Map { page, pages, object, from, prot }),
        2 => (0..PAGES, 1..5_u64).prop_map(|(page, pages)| Step::Unmap { page, pages }),
        1 => (0..PAGES, 0..5_u64, prot()).prop_map(|(page, pages, prot)| Step::Protect { page, pages, prot }),
        1 => (address(), len.clone(), any::<bool>()).prop_map(|(addr, len, on)| Step::Lock { addr, len, on }),
        2 => (address(), len.clone()).prop_map(|(addr, len)| Step::Read { addr, len: len as usize }),
        2 => (address(), len.clone(), any::<u8>())
            .prop_map(|(addr, len, byte)| Step::Write { addr, len: len as usize, byte }),
        2 => (address(), len, any::<bool>()).prop_map(|(addr, len, write)| Step::Find { addr, len, write }),
        1 => (hostile(), hostile()).prop_map(|(addr, len)| Step::Hostile { addr, len }),
    ]
}

#[derive(Clone, Copy)]
struct Page {
    object: usize,
    page: u64,
    prot: Prot,
    locked: bool,
}

struct Model {
    pages: BTreeMap<u64, Page>,
    bytes: [Vec<u8>; OBJECTS],
}

impl Model {
    fn byte(&mut self, addr: u64, wanted: Prot) -> Option<&mut u8> {
        let page = self.pages.get(&(addr / PAGE_SIZE)).filter(|page| page.prot.contains(wanted))?;
        Some(&mut self.bytes[page.object][(page.page * PAGE_SIZE + addr % PAGE_SIZE) as usize])
    }

    /// Returns how many bytes from `addr` on allow the access.
    fn reach(&mut self, addr: u64, len: u64, wanted: Prot) -> u64 {
        (0..len).take_while(|n| self.byte(addr + n, wanted).is_some()).count() as u64
    }

    fn numbers(addr: u64, len: u64) -> std::ops::Range<u64> {
        addr / PAGE_SIZE..(addr + len).div_ceil(PAGE_SIZE)
    }

    fn covered(&self, numbers: std::ops::Range<u64>) -> bool {
        numbers.into_iter().all(|number| self.pages.contains_key(&number))
    }

    fn locked(&self) -> u64 {
        self.pages.values().filter(|page| page.locked).count() as u64
    }
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let limit = 9;
    let space = AddressSpace::new(Limits { memlock: limit * PAGE_SIZE, cap_ipc_lock: false });
    let objects = [(); OBJECTS].map(|()| Memory::anonymous(OBJECT_PAGES * PAGE_SIZE).unwrap());
    let bytes = [(); OBJECTS].map(|()| vec![0; (OBJECT_PAGES * PAGE_SIZE) as usize]);
    let mut model = Model { pages: BTreeMap::new(), bytes };
    for step in steps {
        match step {
            Step::Map { page, pages, object, from, prot } => {
                let at = BASE + page * PAGE_SIZE;
                let memory = objects[object].clone();
                let numbers = Model::numbers(at, pages * PAGE_SIZE);
                let free = numbers.clone().all(|number| !model.pages.contains_key(&number));
                let fits = from + pages <= OBJECT_PAGES;
                if fits && !free {
                    continue; // it would go elsewhere
                }
                let answer = space.map(Some(at), 0, pages * PAGE_SIZE, memory, from * PAGE_SIZE, prot);
                prop_assert_eq!(answer, if fits { Ok(at) } else { Err(Errno::EINVAL) });
                if fits {
                    let page =
                        |number| Page { object, page: from + number - at / PAGE_SIZE, prot, locked: false };
                    model.pages.extend(numbers.map(|number| (number, page(number))));
                }
            }
            Step::Unmap { page, pages } => {
                let at = BASE + page * PAGE_SIZE;
                prop_assert_eq!(space.unmap(at, pages * PAGE_SIZE), Ok(()));
                Model::numbers(at, pages * PAGE_SIZE).for_each(|number| {
                    model.pages.remove(&number);
                });
            }
            Step::Protect { page, pages, prot } => {
                let at = BASE + page * PAGE_SIZE;
                let numbers = Model::numbers(at, pages * PAGE_SIZE);
                let covered = model.covered(numbers.clone());
                let expected = if covered { Ok(()) } else { Err(Errno::ENOMEM) };
                prop_assert_eq!(space.protect(at, pages * PAGE_SIZE, prot), expected);
                if covered {
                    numbers.for_each(|number| model.pages.get_mut(&number).unwrap().prot = prot);
                }
            }
            Step::Lock { addr, len, on } => {
                let numbers = if len == 0 { 0..0 } else { Model::numbers(addr, len) };
                let covered = model.covered(numbers.clone());
                let fresh =
                    numbers.clone().filter(|n| model.pages.get(n).is_some_and(|page| !page.locked)).count();
                let fits = !on || model.locked() + fresh as u64 <= limit;
                let expected = if covered && fits { Ok(()) } else { Err(Errno::ENOMEM) };
                prop_assert_eq!(if on { space.mlock(addr, len) } else { space.munlock(addr, len) }, expected);
                if expected.is_ok() {
                    numbers.for_each(|number| model.pages.get_mut(&number).unwrap().locked = on);
                }
            }
            Step::Read { addr, len } => {
                let reach = model.reach(addr, len as u64, Prot::READ) as usize;
                let mut seen = vec![0xa5; len];
                let expected = if reach == len { Ok(()) } else { Err(Errno::EFAULT) };
                prop_assert_eq!(space.read(addr, &mut seen), expected);
                for (n, byte) in seen[..reach].iter().enumerate() {
                    prop_assert_eq!(Some(*byte), model.byte(addr + n as u64, Prot::READ).copied());
                }
            }
            Step::Write { addr, len, byte } => {
                let reach = model.reach(addr, len as u64, Prot::WRITE) as usize;
                let expected = if reach == len { Ok(()) } else { Err(Errno::EFAULT) };
                let from: Vec<u8> = (0..len).map(|n| byte.wrapping_add(n as u8)).collect();
                prop_assert_eq!(space.write(addr, &from), expected);
                // Pages of one object may lie at two addresses, so the order of bytes matters.
                for (n, byte) in from[..reach].iter().enumerate() {
                    *model.byte(addr + n as u64, Prot::WRITE).unwrap() = *byte;
                }
            }
            Step::Find { addr, len, write } => {
                let reach = model.reach(addr, len, if write { Prot::WRITE } else { Prot::READ });
                let (spans, done) = match space.get_pages(addr, len, write) {
                    Ok(spans) => (spans, len),
                    Err(error) => {
                        prop_assert_eq!(error.errno, Errno::EFAULT);
                        prop_assert!(error.done < len);
                        (error.spans, error.done)
                    }
                };
                prop_assert_eq!(done, reach);
                let mut at = addr;
                for span in &spans {
                    for n in (0..span.len).step_by(512) {
                        let page = model.pages[&((at + n) / PAGE_SIZE)];
                        prop_assert!(span.memory.same_object(&objects[page.object]));
                        prop_assert_eq!(span.offset + n, page.page * PAGE_SIZE + (at + n) % PAGE_SIZE);
                    }
                    at += span.len;
                }
                prop_assert_eq!(at - addr, done);
            }
            Step::Hostile { addr, len } => {
                // Whatever the numbers are, nothing panics, and nothing in the tested area changes.
                if addr.checked_add(len).is_some_and(|end| addr < BASE + PAGES * PAGE_SIZE * 2 && end > BASE)
                {
                    continue;
                }
                let _ = space.unmap(addr, len);
                let _ = space.protect(addr, len, Prot::empty());
                prop_assert!(
                    len == 0 || space.mlock(addr, len).is_err() && space.munlock(addr, len).is_err()
                );
                prop_assert!(len == 0 || space.get_pages(addr, len, false).is_err());
                prop_assert_eq!(space.read(addr, &mut [0; 3]).is_err(), true);
                let wrong = space.map(Some(addr), len, len, objects[0].clone(), addr, Prot::RW);
                if let Ok(at) = wrong {
                    space.unmap(at, len).unwrap();
                }
            }
        }
        prop_assert_eq!(space.locked().locked_pages(), model.locked());
    }
    let areas: u64 = space.areas().iter().map(|area| area.len / PAGE_SIZE).sum();
    prop_assert_eq!(areas, model.pages.len() as u64);
    space.clear();
    prop_assert!(objects.iter().all(|object| object.handles() == 1));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map_of_pages(steps in proptest::collection::vec(step(), 1..80)) {
        play(steps)?;
    }
}
