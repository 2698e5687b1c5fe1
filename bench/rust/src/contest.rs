//! Contenders that do the same work in turns, round by round, so that whatever disturbs the machine disturbs all.

use serde_json::{Value, json};

use crate::clock::{Took, time};
use crate::random::perm;

/// How often short work is tried, and how long all tries together may take.
const TRIES: usize = 8;
const SHORT_NS: f64 = 2e7;

type Work<'a> = Box<dyn FnMut() -> (u64, Took) + 'a>;

/// Several ways of doing `ops` operations.
pub struct Contest<'a> {
    name: String,
    ops: f64,
    contenders: Vec<(String, Work<'a>)>,
}

/// What one contender needed in each round, in nanoseconds per operation.
pub struct Row {
    pub name: String,
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

/// What came out.
pub struct Outcome {
    pub name: String,
    pub rows: Vec<Row>,
    /// All contenders gave the same answers.
    pub agree: bool,
}

impl<'a> Contest<'a> {
    pub fn new(name: &str, ops: usize) -> Self {
        Self { name: name.to_owned(), ops: ops as f64, contenders: Vec::new() }
    }

    /// Adds a contender that answers with a checksum. Its work is timed from the second time on, when the caches are its
    /// own. Work that is short is done a few times, of which the fastest counts: whoever is interrupted meanwhile starts
    /// with the caches of another.
    pub fn add(&mut self, name: &str, mut work: impl FnMut() -> u64 + 'a) {
        self.add_timed(name, move || {
            std::hint::black_box(work());
            let (answer, mut best) = time(&mut work);
            let mut spent = best.wall;
            for _ in 1..TRIES {
                if spent > SHORT_NS {
                    break;
                }
                let (_, took) = time(&mut work);
                spent += took.wall;
                if took.cpu < best.cpu {
                    best = took;
                }
            }
            (answer, best)
        });
    }

    /// Adds a contender that times a part of its work itself.
    pub fn add_timed(&mut self, name: &str, work: impl FnMut() -> (u64, Took) + 'a) {
        self.contenders.push((name.to_owned(), Box::new(work)));
    }

    /// Runs so many rounds, each in an order of its own.
    pub fn run(mut self, rounds: usize) -> Outcome {
        let count = self.contenders.len();
        let mut rows: Vec<Row> = self
            .contenders
            .iter()
            .map(|(name, _)| Row { name: name.clone(), cpu: Vec::new(), wall: Vec::new() })
            .collect();
        let mut agree = true;
        for round in 0..rounds {
            eprint!("\r  {} {}/{rounds}   ", self.name, round + 1);
            let mut sum = None;
            for at in perm(count as u64, round as u64).into_iter().map(|at| at as usize) {
                let (answer, took) = self.contenders[at].1();
                agree &= *sum.get_or_insert(answer) == answer;
                rows[at].cpu.push(took.cpu / self.ops);
                rows[at].wall.push(took.wall / self.ops);
            }
        }
        eprintln!();
        Outcome { name: self.name, rows, agree }
    }
}

impl Outcome {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Returns how many times the processor time of `of` that of `to` is: the median of the rounds' ratios.
    pub fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let (of, to) = (self.row(of)?, self.row(to)?);
        Some(median(&of.cpu.iter().zip(&to.cpu).map(|(of, to)| of / to).collect::<Vec<_>>()))
    }

    pub fn json(&self) -> Value {
        let first = self.rows.first().map_or("", |row| &row.name);
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "cpuNs": round(median(&row.cpu)),
                "wallNs": round(median(&row.wall)),
                "spread": round(spread(&row.cpu)),
                "ratioToFirst": self.ratio(&row.name, first).map(round),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "name": self.name, "rounds": self.rows[0].cpu.len(), "agree": self.agree, "rows": rows })
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the distance between the quartiles, as a part of the median.
fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() * 3 / 4] - sorted[sorted.len() / 4]) / median(values)
}

pub fn round(value: f64) -> f64 {
    if value.abs() >= 1000.0 { value.round() } else { (value * 1000.0).round() / 1000.0 }
}
