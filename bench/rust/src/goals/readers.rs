//! P8: readers that share a table, with a writer beside them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vfio_iommu::{Access, IoPageTable, IovaRange};
use vfio_memory::Prot;

use crate::clock::{Took, thread_cpu, time};
use crate::contest::median;
use crate::goal::{Effort, Goal};
use crate::layout::Layout;
use crate::peers::ours::answer_held;
use crate::random::{Addresses, Stream};

/// Operations per nanosecond of a thread's processor time, and of wall time, all threads together.
#[derive(Clone, Copy)]
struct Rate {
    cpu: f64,
    wall: f64,
}

fn readers(table: &IoPageTable, count: usize, streams: &[Addresses], passes: usize) -> Rate {
    let start = Barrier::new(count + 1);
    thread::scope(|scope| {
        let run = |index: usize| {
            let (start, stream) = (&start, streams[index]);
            scope.spawn(move || {
                answer_held(table, stream);
                start.wait();
                time(|| {
                    (0..passes).for_each(|_| {
                        std::hint::black_box(answer_held(table, stream));
                    })
                })
                .1
            })
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        start.wait();
        let begin = Instant::now();
        let took: Vec<Took> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let wall = begin.elapsed().as_nanos() as f64;
        let ops = (passes * streams[0].count as usize) as f64;
        Rate { cpu: took.iter().map(|took| ops / took.cpu).sum(), wall: ops * count as f64 / wall }
    })
}

/// Maps and unmaps pages of its own, beside those that are read, at one twentieth of its time.
fn write_beside(table: &IoPageTable, layout: &Layout, stop: &AtomicBool) {
    let range = IovaRange::sized(1 << 45, 4096).expect("it does not wrap");
    while !stop.load(Ordering::Relaxed) {
        let begin = thread_cpu();
        for _ in 0..8 {
            table.map(range, layout.memory(), 0, Prot::RW).expect("nothing overlaps");
            table.unmap(range).expect("it is aligned");
        }
        let busy = thread_cpu() - begin;
        thread::sleep(Duration::from_nanos((busy * 19.0) as u64));
    }
}

/// Remaps one page between two places; counts the answers that are neither, and those given after the unmap.
fn stress(millis: u64) -> (u64, u64, u64) {
    let layout = Layout::a();
    let table = IoPageTable::new();
    let range = IovaRange::sized(0x7000, 4096).expect("it does not wrap");
    let (low, high) = (layout.first(), layout.first() + (5 << 20));
    let (answers, torn, stale) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    // Even: nothing is mapped, and has not been since the number was set.
    let phase = AtomicU64::new(0);
    let end = Instant::now() + Duration::from_millis(millis);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let before = phase.load(Ordering::SeqCst);
                    let answer = table.reader().translate(0x7008, Access::Read);
                    let after = phase.load(Ordering::SeqCst);
                    let Ok(found) = answer else { continue };
                    answers.fetch_add(1, Ordering::Relaxed);
                    if found.host != low + 8 && found.host != high + 8 {
                        torn.fetch_add(1, Ordering::Relaxed);
                    }
                    if before == after && before % 2 == 0 {
                        stale.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for turn in 0.. {
            if Instant::now() >= end {
                break;
            }
            phase.fetch_add(1, Ordering::SeqCst);
            let offset = if turn % 2 == 0 { 0 } else { 5 << 20 };
            table.map(range, layout.memory(), offset, Prot::RW).expect("nothing overlaps");
            table.unmap(range).expect("it is aligned");
            phase.fetch_add(1, Ordering::SeqCst);
        }
    });
    (answers.into_inner(), torn.into_inner(), stale.into_inner())
}

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P8", "two readers, and a writer beside them");
    let layout = Layout::a();
    let table = layout.table();
    let ops = effort.ops(1 << 18);
    let streams = [Stream::Random; 2]
        .map(|stream| Addresses::new(stream, layout.base, layout.pages(), layout.span, ops));
    let (mut cpu, mut wall, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        eprint!("\r  readers {}/{}   ", round + 1, effort.rounds);
        let one = readers(&table, 1, &streams, 8);
        let two = readers(&table, 2, &streams, 8);
        let stop = AtomicBool::new(false);
        let three = thread::scope(|scope| {
            scope.spawn(|| write_beside(&table, &layout, &stop));
            let rate = readers(&table, 2, &streams, 8);
            stop.store(true, Ordering::Relaxed);
            rate
        });
        cpu.push(two.cpu / one.cpu);
        wall.push(two.wall / one.wall);
        beside.push(three.cpu / two.cpu);
    }
    eprintln!();
    goal.at_least("two readers / one, per second of thread time", Some(median(&cpu)), 1.9);
    goal.at_least("two readers / one, wall (needs two idle cores)", Some(median(&wall)), 1.9);
    goal.at_least("with a writer beside them / without", Some(median(&beside)), 0.9);
    let (answers, torn, stale) = stress(if effort.quick { 500 } else { 5000 });
    goal.at_most("torn answers", Some(torn as f64), 0.0);
    goal.at_most("stale answers after unmap returned", Some(stale as f64), 0.0);
    goal.note(format!("{answers} answers were looked at while the page moved"));
    goal
}
