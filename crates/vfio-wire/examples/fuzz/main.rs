//! Hostile peers for both roles, made from a grammar of the protocol, for as long as one likes:
//! `cargo run -p vfio-wire --example fuzz -- [--seconds N] [--seed N] [--runs N]`.
//!
//! Every run has a seed of its own, which a failure prints: `--seed N --runs 1` plays it again (threads take turns as they
//! like, so a race may need several). Checked are: no panic, no descriptor left, bounded memory, nothing written outside of
//! what was lent for writing, and a client that behaves is served afterwards.

#[cfg(target_os = "linux")]
mod bodies;
#[cfg(target_os = "linux")]
#[path = "../../tests/parts/card.rs"]
mod card;
#[cfg(target_os = "linux")]
mod chance;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod house;
#[cfg(target_os = "linux")]
mod objects;
#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    house::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("there is no vfio-user here");
}
