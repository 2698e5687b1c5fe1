//! Measures the core beside its peers: `vfio-bench [P1 … P9] [--quick]` prints JSON; progress goes to stderr.

mod clock;
mod contest;
mod goal;
mod goals;
mod layout;
mod peers;
mod random;

use goal::{Effort, Goal};

type Run = fn(Effort) -> Goal;

const GOALS: &[(&str, Run)] = &[
    ("P1", goals::translate::random),
    ("P2", goals::translate::streams),
    ("P3", goals::map::run),
    ("P4", goals::copy::run),
    ("P5", goals::pins::run),
    ("P6", goals::harvest::run),
    ("P7", goals::region::run),
    ("P8", goals::readers::run),
    ("P9", goals::crossing::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, kind, path, processor] = &arguments[..]
        && serve == "serve"
    {
        return goals::region::serve(kind, path.as_ref(), processor);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let effort = Effort { rounds: 11, quick };
    let mut goals = Vec::new();
    for (name, run) in GOALS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == *name) {
            eprintln!("{name}");
            goals.push(run(effort).json());
        }
    }
    println!("{}", serde_json::json!({ "goals": goals }));
}
