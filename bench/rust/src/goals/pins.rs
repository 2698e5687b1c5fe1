//! P5: pins of mediated devices.

use std::sync::Arc;

use vfio_iommu::type1::{DeviceId, DeviceKind, DmaUnmapListener, MapDma, Type1};
use vfio_iommu::{DmaSpace, IovaRange};
use vfio_memory::{AddressSpace, Limits, Memory, Prot};

use crate::contest::Contest;
use crate::goal::{Effort, Goal};
use crate::peers::RedBlack;
use crate::random::perm;

const PAGES: u64 = 262_144;

struct Deaf;

impl DmaUnmapListener for Deaf {
    fn dma_unmap(&self, _: IovaRange) {}
}

/// One mediated device with `len` bytes of memory in one mapping from address 0 on.
pub fn mediated(len: u64, memory: Memory) -> (Type1, Arc<dyn DmaSpace>) {
    let mm = AddressSpace::new(Limits { memlock: u64::MAX, cap_ipc_lock: true });
    let vaddr = mm.map(None, 0, len, memory, 0, Prot::RW).expect("there is room");
    let type1 = Type1::new(true, 65_535);
    type1.attach_emulated(1).expect("a new group");
    type1.map_dma(&mm, &MapDma { flags: 3, vaddr, iova: 0, size: len }).expect("nothing overlaps");
    let device = DeviceId(1);
    type1.register_listener(device, Arc::new(Deaf));
    let space = type1.space_for(device, "bench", DeviceKind::Emulated);
    (type1, space)
}

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P5", "pin and unpin pages");
    let memory = Memory::anonymous(PAGES * 4096).expect("1 GiB");
    let host = memory.stable_ptr().expect("it is ours").expose_provenance() as u64;
    let (type1, space) = mediated(PAGES * 4096, memory);
    let order = perm(PAGES, 0x5EED);
    let (space, order) = (&*space, &order[..]);
    let addresses: Vec<u64> = order.iter().map(|page| page << 12).collect();

    let mut contest = Contest::new("pin and unpin in random order", PAGES as usize);
    let (iovas, mut hosts) = (&addresses[..], vec![0; 1024]);
    contest.add("vfio", move || {
        let mut sum = 0_u64;
        for iovas in iovas.chunks(hosts.len()) {
            let hosts = &mut hosts[..iovas.len()];
            space.pin_batch(iovas, Prot::RW, hosts).expect("it is mapped");
            sum = hosts.iter().fold(sum, |sum, host| sum.wrapping_add(*host));
        }
        iovas.chunks(1024).for_each(|iovas| space.unpin_batch(iovas));
        sum
    });
    let mut tree = RedBlack::default();
    contest.add("kernel rb-tree", move || {
        let sum =
            order.iter().fold(0_u64, |sum, page| sum.wrapping_add(tree.pin(*page, host + (page << 12))));
        order.iter().for_each(|page| tree.unpin(*page));
        sum
    });
    contest.add("vfio, a call each", move || {
        let mut sum = 0_u64;
        for page in order {
            let spans = space.pin_pages(page << 12, 1, Prot::RW).expect("it is mapped");
            sum = sum.wrapping_add(host + spans[0].offset);
        }
        order.iter().for_each(|page| space.unpin_pages(page << 12, 1));
        sum
    });
    let mut counts = vec![0_u16; PAGES as usize];
    contest.add("flat u16", move || {
        let mut sum = 0_u64;
        for page in order {
            counts[*page as usize] += 1;
            sum = sum.wrapping_add(host + (page << 12));
        }
        order.iter().for_each(|page| counts[*page as usize] -= 1);
        std::hint::black_box(&counts);
        sum
    });
    let outcome = contest.run(effort.rounds);
    goal.at_least("random order, kernel's rb-tree /", outcome.ratio("kernel rb-tree", "vfio"), 50.0);
    let single = outcome.ratio("kernel rb-tree", "vfio, a call each").unwrap_or(f64::NAN);
    goal.note(format!("with a call for each page: {single:.1} times the rb-tree alone"));
    goal.contest(&outcome);

    let mut contest = Contest::new("pin and unpin 1 GiB at once", 1);
    contest.add("vfio", move || {
        let spans = space.pin_pages(0, PAGES, Prot::RW).expect("it is mapped");
        space.unpin_pages(0, PAGES);
        spans.len() as u64
    });
    let mut counts = vec![0_u16; PAGES as usize];
    contest.add("memset of the counters, twice", move || {
        std::hint::black_box(&mut counts).fill(1);
        std::hint::black_box(&mut counts).fill(0);
        1
    });
    let outcome = contest.run(effort.rounds.max(31));
    goal.at_most(
        "1 GiB at once / memset of its counters",
        outcome.ratio("vfio", "memset of the counters, twice"),
        3.0,
    );
    goal.contest(&outcome);

    let before = type1.pin_memory_usage();
    goal.at_most("bytes where nothing is pinned", Some(before as f64), 0.0);
    space.pin_pages(0, PAGES, Prot::RW).expect("it is mapped");
    goal.at_most(
        "bytes per page pinned in a range",
        Some(type1.pin_memory_usage() as f64 / PAGES as f64),
        2.0,
    );
    space.unpin_pages(0, PAGES);
    space.pin_batch(iovas, Prot::RW, &mut vec![0; iovas.len()]).expect("it is mapped");
    goal.at_most("bytes per page pinned singly", Some(type1.pin_memory_usage() as f64 / PAGES as f64), 2.0);
    space.unpin_batch(iovas);
    goal
}
