//! A goal: what was measured for it, and whether it was met.

use serde_json::{Value, json};

use crate::contest::{Outcome, round};

/// Gathers what belongs to one goal.
pub struct Goal {
    pub id: &'static str,
    title: &'static str,
    checks: Vec<Value>,
    contests: Vec<Value>,
    notes: Vec<String>,
}

/// How thorough to be.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub quick: bool,
}

impl Effort {
    /// Returns a number of operations, fewer when there is no time.
    pub fn ops(self, ops: usize) -> usize {
        if self.quick { ops / 8 } else { ops }
    }
}

impl Goal {
    pub fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title, checks: Vec::new(), contests: Vec::new(), notes: Vec::new() }
    }

    pub fn at_most(&mut self, what: &str, ratio: Option<f64>, limit: f64) {
        self.check(what, ratio, "<=", limit, |ratio| ratio <= limit);
    }

    pub fn at_least(&mut self, what: &str, ratio: Option<f64>, limit: f64) {
        self.check(what, ratio, ">=", limit, |ratio| ratio >= limit);
    }

    fn check(&mut self, what: &str, ratio: Option<f64>, sign: &str, limit: f64, met: impl Fn(f64) -> bool) {
        // Without the peer there is nothing to say.
        let met = ratio.map(met);
        self.checks.push(
            json!({ "what": what, "ratio": ratio.map(round), "sign": sign, "goal": limit, "met": met }),
        );
    }

    /// Keeps all figures of a contest; answers that differ count as missed.
    pub fn contest(&mut self, outcome: &Outcome) {
        if !outcome.agree {
            self.at_least(&format!("{}: equal answers", outcome.name), Some(0.0), 1.0);
        }
        self.contests.push(outcome.json());
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn json(&self) -> Value {
        let Self { id, title, checks, contests, notes } = self;
        json!({ "id": id, "title": title, "checks": checks, "contests": contests, "notes": notes })
    }
}
