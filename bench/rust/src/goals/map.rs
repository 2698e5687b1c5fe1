//! P3: making mappings, and what they cost in memory.

use vfio_iommu::{IoPageTable, IovaRange};
use vfio_memory::{Memory, Prot};

use crate::clock::time;
use crate::contest::{Contest, Outcome};
use crate::goal::{Effort, Goal};
use crate::layout::Layout;
use crate::peers::{Art, Flat, GTree, Intervals, Ranges, RedBlack, Tlb, Translate, Tree};

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P3", "map, and the memory it takes");
    let layout = Layout::a();
    let outcome = fresh(effort, &layout);
    goal.at_most("one 4 KiB map / a store in a fresh flat array", outcome.ratio("vfio", "flat"), 3.0);
    goal.contest(&outcome);
    let warm = warm(effort, &layout);
    let ratio = warm.ratio("vfio", "flat").unwrap_or(f64::NAN);
    goal.note(format!("where tables and array are warm, a map is {ratio:.1} stores"));
    goal.contest(&warm);

    let large = contiguous(effort, &layout);
    goal.at_most("1 GiB contiguous, 1 leaf / one 4 KiB map", large.ratio("1 GiB", "4 KiB"), 3.0);
    // 4 KiB off: 511 pages, 511 leaves of 2 MiB, 1 page.
    goal.at_most(
        "1 GiB off by a page, 1,023 leaves / one 4 KiB map",
        large.ratio("1 GiB + 4 KiB", "4 KiB"),
        3.0 * 1023.0,
    );
    goal.contest(&large);

    let bytes = layout.table().memory_usage() as f64 / layout.pages() as f64;
    goal.at_most("bytes per 4 KiB entry at A", Some(bytes), 8.5);
    let sparse = IoPageTable::new();
    for i in 0..8 {
        let range = IovaRange::sized(0x1234_5678_9000 * (i + 1) * (i + 1), 4096).expect("it does not wrap");
        sparse.map(range, layout.memory(), 0, Prot::RW).expect("nothing overlaps");
    }
    goal.at_most("KiB of a sparse space of 8 mappings", Some(sparse.memory_usage() as f64 / 1024.0), 64.0);
    goal
}

/// Maps A into something new, which is filled for the first time.
fn fresh(effort: Effort, layout: &Layout) -> Outcome {
    let mut contest = Contest::new("A map", layout.pages() as usize);
    contest.add_timed("vfio", move || {
        let table = IoPageTable::new();
        let (_, took) = time(|| layout.fill(&table));
        (0, took)
    });
    let mut join = |name: &str, peer: &'static dyn Fn(&Layout) -> Box<dyn FnMut(u64, u64, u64)>| {
        contest.add_timed(name, move || {
            let mut map = peer(layout);
            let (_, took) = time(|| layout.mappings().for_each(|(iova, host)| map(iova, layout.span, host)));
            (0, took)
        });
    };
    fn mapping<T: Translate + 'static>(mut peer: T) -> Box<dyn FnMut(u64, u64, u64)> {
        Box::new(move |iova, len, host| peer.map(iova, len, host))
    }
    join("BTreeMap", &|_| mapping(Tree::default()));
    if !effort.quick {
        join("rangemap", &|_| mapping(Ranges::default()));
        join("vm-memory Iotlb", &|_| mapping(Tlb::default()));
        join("iset", &|_| mapping(Intervals::default()));
        join("congee", &|layout| mapping(Art::new(layout.span)));
        join("kernel rb-tree", &|_| mapping(RedBlack::default()));
        if GTree::new().is_some() {
            join("GTree", &|_| mapping(GTree::new().expect("it was there")));
        }
    }
    contest.add_timed("flat", move || {
        // Our table takes its memory while it is filled, so the array does, too.
        let (flat, took) = time(|| {
            let mut flat = Flat::new(layout.base, layout.span, layout.pages());
            layout.mappings().for_each(|(iova, host)| flat.map(iova, layout.span, host));
            flat
        });
        std::hint::black_box(&flat);
        (0, took)
    });
    contest.add_timed("vfio, a lock each", move || {
        let table = IoPageTable::new();
        let first = layout.first();
        let (_, took) = time(|| {
            for (iova, host) in layout.mappings() {
                let range = IovaRange::sized(iova, layout.span).expect("it does not wrap");
                table.map(range, layout.memory(), host - first, Prot::RW).expect("nothing overlaps");
            }
        });
        (0, took)
    });
    contest.run(effort.rounds)
}

/// Maps 511 of each 512 pages of A while the last keeps the table there.
fn warm(effort: Effort, layout: &Layout) -> Outcome {
    let mut contest = Contest::new("A map, tables warm", layout.pages() as usize);
    let table = layout.table();
    let last = |iova: u64| iova >> 12 & 511 == 511;
    contest.add_timed("vfio", move || {
        for start in (0..layout.pages()).step_by(512) {
            let range = IovaRange::sized(layout.base + start * 4096, 511 * 4096).expect("it does not wrap");
            table.unmap(range).expect("it is aligned");
        }
        let (_, took) = time(|| {
            let mut editor = table.edit();
            for (iova, host) in layout.mappings().filter(|(iova, _)| !last(*iova)) {
                let range = IovaRange::sized(iova, 4096).expect("it does not wrap");
                editor
                    .map(range, layout.memory(), host - layout.first(), Prot::RW)
                    .expect("nothing overlaps");
            }
        });
        (0, took)
    });
    let mut flat = Flat::new(layout.base, layout.span, layout.pages());
    contest.add("flat", move || {
        for (iova, host) in layout.mappings().filter(|(iova, _)| !last(*iova)) {
            flat.map(iova, 4096, host);
        }
        std::hint::black_box(&flat);
        0
    });
    contest.run(effort.rounds)
}

/// Maps 1 GiB at once, at an address that suits it and at one that does not; each is unmapped untimed.
fn contiguous(effort: Effort, layout: &Layout) -> Outcome {
    const TIMES: u64 = 64;
    let mut contest = Contest::new("map 1 GiB at once", TIMES as usize);
    for (name, size, shift) in [("4 KiB", 4096, 0), ("1 GiB", 1 << 30, 0), ("1 GiB + 4 KiB", 1 << 30, 4096)] {
        let memory: Memory = layout.memory().clone();
        contest.add_timed(name, move || {
            let table = IoPageTable::new();
            // A neighbour in each slot, so that the tables above exist.
            for i in 0..TIMES {
                let range = IovaRange::sized((2 * i + 1) << 30, 4096).expect("it does not wrap");
                table.map(range, &memory, 0, Prot::RW).expect("nothing overlaps");
            }
            let far = 1 << 40;
            let (_, took) = time(|| {
                let mut editor = table.edit();
                for i in 0..TIMES {
                    let range = IovaRange::sized(far + (i << 32) + shift, size).expect("it does not wrap");
                    editor.map(range, &memory, 0, Prot::RW).expect("nothing overlaps");
                }
            });
            (0, took)
        });
    }
    contest.run(effort.rounds)
}
