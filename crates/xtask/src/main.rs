//! Generates the TypeScript side of the uapi and checks import directions.
//!
//! `cargo run -p xtask -- uapi [--check]` writes `ts/uapi` (or fails where the committed files differ);
//! `cargo run -p xtask -- directions` fails where a crate or a TypeScript module imports against the plan of the house.
#![forbid(unsafe_code)]

mod directions;
mod uapi;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- uapi [--check] | directions";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let outcome = match arguments[..] {
        ["uapi"] => uapi::write(&root),
        ["uapi", "--check"] => uapi::check(&root),
        ["directions"] => directions::check(&root),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}
