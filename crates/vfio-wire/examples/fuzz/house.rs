//! Runs, one after the other, and what is looked after between them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use vfio_device::VfioDeviceOps;
use vfio_memory::{Memory, Prot};
use vfio_uapi::Errno;
use vfio_wire::client::{ClientOptions, Loan, connect};
use vfio_wire::server::{Server, ServerOptions};

use crate::card::Card;
use crate::chance::Chance;
use crate::client::{HostileClient, WRITTEN};
use crate::objects::Oddities;
use crate::server;

/// Runs between two looks at the whole.
const BETWEEN: u64 = 64;
/// KiB that the process may grow by once it has warmed up.
const GROWTH: u64 = 256 << 10;
/// How long things may take to settle.
const SETTLE: Duration = Duration::from_secs(10);

static PANICKED: AtomicBool = AtomicBool::new(false);

struct Arguments {
    seconds: u64,
    seed: u64,
    runs: u64,
}

/// The house in which the hostile peers are let in.
struct House {
    card: Arc<Card>,
    server: Server,
    folder: PathBuf,
    oddities: Oddities,
}

pub(crate) fn run() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: fuzz [--seconds N] [--seed N] [--runs N]");
        return ExitCode::from(2);
    };
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        usual(panic);
    }));
    println!("seed {}", arguments.seed);
    let house = House::new();
    let (mut done, mut failed) = (0, 0);
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    // The first round grows what stays.
    let mut settled = None;
    while done < arguments.runs && Instant::now() < end && failed == 0 {
        let last = (done + BETWEEN).min(arguments.runs);
        for run in done..last {
            let seed = arguments.seed.wrapping_add(run);
            for complaint in house.play(seed) {
                failed += 1;
                println!("FAIL seed {seed}: {complaint} (again: --seed {seed} --runs 1)");
            }
        }
        for complaint in house.look(&mut settled) {
            failed += 1;
            println!(
                "FAIL seeds {} to {}: {complaint}",
                arguments.seed.wrapping_add(done),
                arguments.seed.wrapping_add(last - 1)
            );
        }
        done = last;
    }
    house.close();
    println!("{} pages were written by devices, all of them lent for it", WRITTEN.load(Ordering::Relaxed));
    println!("{done} runs, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Option<Arguments> {
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let mut told = Arguments { seconds: 60, seed: now, runs: u64::MAX };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?.parse().ok()?;
        match word.as_str() {
            "--seconds" => told.seconds = value,
            "--seed" => told.seed = value,
            "--runs" => told.runs = value,
            _ => return None,
        }
    }
    Some(told)
}

impl House {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("vfio-fuzz-{}", std::process::id()));
        fs::create_dir(&folder).expect("a fresh folder");
        let card = Card::new();
        let options = ServerOptions {
            max_data_xfer_size: 64 << 10,
            max_dma_maps: 64,
            patience: Duration::from_millis(50),
            answer_within: Duration::from_millis(200),
            ..ServerOptions::default()
        };
        let server =
            Server::start(card.clone(), &folder.join("s"), options, Arc::new(|_| {})).expect("a server");
        Self { card, server, folder, oddities: Oddities::new() }
    }

    fn play(&self, seed: u64) -> Vec<String> {
        if Chance::new(seed).one_in(3) {
            server::play(seed)
        } else {
            HostileClient::play(seed, self.server.path(), &self.oddities)
        }
    }

    /// Looks whether all is well.
    fn look(&self, settled: &mut Option<(usize, u64)>) -> Vec<String> {
        let mut complaints = Vec::new();
        if PANICKED.swap(false, Ordering::SeqCst) {
            complaints.push("a thread panicked".into());
        }
        if let Err(complaint) = self.good_client() {
            complaints.push(format!("a client that behaves is not served: {complaint}"));
        }
        let closed = wait(|| self.card.opened.load(Ordering::SeqCst) == 0);
        if !closed || self.card.dma().is_some() || self.card.has_vectors() {
            complaints.push("the device is open, or has memory or events of a client that has gone".into());
        }
        let (descriptors, memory) = *settled.get_or_insert_with(|| (open_descriptors(), resident()));
        if !wait(|| open_descriptors() <= descriptors) {
            complaints.push(format!("{} descriptors where there were {descriptors}", open_descriptors()));
        }
        if resident() > memory + GROWTH {
            complaints.push(format!("{} KiB of memory where there were {memory}", resident()));
        }
        complaints
    }

    /// Reads, writes, lends memory both ways and has the device use it.
    fn good_client(&self) -> Result<(), String> {
        let device = connect(self.server.path(), &ClientOptions::default()).map_err(said("connect"))?;
        let what = [1, 2, 3, 4];
        device.write(0, 512, &what).map_err(said("write"))?;
        let mut back = [0; 4];
        device.read(0, 512, &mut back).map_err(said("read"))?;
        let memory = Memory::memfd("lent", 8192).map_err(said("memory"))?;
        for (by_message, at) in [(false, 0), (true, 4096)] {
            let (iova, prot) = (0x10_0000 + at, Prot::RW);
            let loan = Loan { iova, memory: memory.clone(), offset: at, len: 4096, prot, by_message };
            device.dma_map(&loan).map_err(said("map"))?;
            device.write(0, 0, &(iova + 8).to_le_bytes()).map_err(said("start"))?;
            if !wait(|| memory.load_u32(at + 8) == Ok(1)) {
                return Err("its memory is not written".into());
            }
        }
        device.dma_unmap(0x10_0000, 8192).map_err(said("unmap"))?;
        device.close();
        if back == what { Ok(()) } else { Err("it reads something else than it wrote".into()) }
    }

    fn close(self) {
        self.server.join();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn said(what: &str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {}", errno.name())
}

fn wait(so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + SETTLE;
    while !so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// KiB that are in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
