//! P7: a region access over vfio-user, server and client in processes of their own, beside a ping-pong of as many bytes over
//! the same kind of socket and beside the crate `vfio_user`; and a doorbell, beside a ping-pong of bare eventfds.
//!
//! Servers are this program again, by `serve KIND PATH`. Contenders take turns, round by round; each round trip is timed.

mod clients;
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{Took, thread_cpu};
use crate::contest::{Contest, median};
use crate::goal::{Effort, Goal};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
pub use servers::serve;

/// Bytes of a register.
const WIDTH: usize = 4;
/// Round trips of one contender in one round.
const TRIPS: usize = 4000;
const DOORBELL_TRIPS: usize = 4000;

/// Makes round trips; each answers with a number that all contenders agree on.
type Trip = Box<dyn FnMut() -> u64>;

/// A server in a process of its own, ended with this.
struct Served {
    child: Child,
    folder: PathBuf,
}

impl Served {
    fn new(kind: &str, processor: usize) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("vfio-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        let path = folder.join("s");
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["serve", kind])
            .arg(&path)
            .arg(processor.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("another process");
        let end = Instant::now() + Duration::from_secs(10);
        while !path.exists() {
            assert!(Instant::now() < end, "the server {kind} does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
        // It is there a moment before it listens.
        std::thread::sleep(Duration::from_millis(50));
        Self { child, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("s")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended with its client.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Contenders of one contest, with every time that they took.
struct Race {
    name: &'static str,
    contenders: Vec<(&'static str, Trip, Vec<Vec<f64>>)>,
    _servers: Vec<Served>,
}

impl Race {
    /// Clients run on the first processor, their servers on this one.
    fn new(name: &'static str, processor: usize, kinds: &[(&'static str, &str, fn(&Path) -> Trip)]) -> Self {
        stay_on(0);
        let mut servers = Vec::new();
        let mut contenders = Vec::new();
        for (name, kind, connect) in kinds {
            let served = Served::new(kind, processor);
            contenders.push((*name, connect(&served.path()), Vec::new()));
            servers.push(served);
        }
        Self { name, contenders, _servers: servers }
    }

    fn run(mut self, goal: &mut Goal, rounds: usize, trips: usize) -> Self {
        let mut contest = Contest::new(self.name, trips);
        for (name, trip, rounds) in &mut self.contenders {
            contest.add_timed(name, move || {
                let (mut times, mut sum) = (Vec::with_capacity(trips), 0_u64);
                for _ in 0..trips / 8 {
                    trip();
                }
                let cpu = thread_cpu();
                let began = Instant::now();
                for _ in 0..trips {
                    let start = Instant::now();
                    sum = sum.wrapping_add(trip());
                    times.push(start.elapsed().as_nanos() as f64);
                }
                let wall = began.elapsed().as_nanos() as f64;
                let took = Took { cpu: thread_cpu() - cpu, wall };
                times.sort_by(f64::total_cmp);
                rounds.push(times);
                (sum, took)
            });
        }
        let outcome = contest.run(rounds);
        goal.contest(&outcome);
        for (name, _, rounds) in &self.contenders {
            let (half, most) = (percentile(rounds, 0.5), percentile(rounds, 0.99));
            goal.note(format!("{}: {name}: p50 {:.2} µs, p99 {:.2} µs", self.name, half / 1e3, most / 1e3));
        }
        self
    }

    /// How many times the middle round trip of `to` that of `of` is: the median of the rounds' ratios.
    fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let rounds = |name: &str| self.contenders.iter().find(|it| it.0 == name).map(|it| &it.2);
        let middle = |times: &Vec<f64>| times[times.len() / 2];
        let (of, to) = (rounds(of)?, rounds(to)?);
        Some(median(&of.iter().zip(to).map(|(of, to)| middle(of) / middle(to)).collect::<Vec<_>>()))
    }
}

/// The median over the rounds of a percentile in each.
fn percentile(rounds: &[Vec<f64>], part: f64) -> f64 {
    let of = |times: &Vec<f64>| times[((times.len() - 1) as f64 * part) as usize];
    median(&rounds.iter().map(of).collect::<Vec<_>>())
}

/// Keeps this thread, and those that it starts, on one processor: where the scheduler puts the two ends of a socket makes
/// more of a difference than anything that is compared here.
fn stay_on(processor: usize) {
    let mut only = CpuSet::new();
    only.set(processor);
    // Where that is not allowed, the figures are as good as the scheduler is fair.
    let _ = sched_setaffinity(None, &only);
}

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P7", "a region access over vfio-user");
    let before = sched_getaffinity(None);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for (name, processor) in [("read 4 bytes, one processor", 0), ("read 4 bytes, two processors", 1)] {
        if processor >= processors {
            continue;
        }
        let race = Race::new(
            name,
            processor,
            &[
                ("raw stream ping-pong", "stream", clients::stream),
                ("vfio, both sides", "vfio", clients::ours),
                ("vfio serves the crate's client", "vfio", clients::theirs),
                ("the crate serves vfio's client", "crate", clients::ours),
                ("crate vfio_user, both sides", "crate", clients::theirs),
            ],
        );
        let race = race.run(&mut goal, effort.rounds * 2 + 1, effort.ops(TRIPS));
        for (peer, limit) in [("raw stream ping-pong", 1.15), ("crate vfio_user, both sides", 1.0)] {
            goal.at_most(&format!("{name}: beside {peer}"), race.ratio("vfio, both sides", peer), limit);
        }
    }
    let race = Race::new(
        "doorbell and interrupt",
        0,
        &[
            ("bare eventfds", "events", clients::events),
            ("vfio, by the doorbell's eventfd", "vfio", clients::doorbell),
            ("vfio, by a message", "vfio", clients::write_and_interrupt),
        ],
    );
    let race = race.run(&mut goal, effort.rounds * 2 + 1, effort.ops(DOORBELL_TRIPS));
    let message = race.ratio("vfio, by the doorbell's eventfd", "vfio, by a message");
    goal.at_most("a doorbell beside a message", message, 1.0);
    if let Ok(before) = before {
        let _ = sched_setaffinity(None, &before);
    }
    goal
}
