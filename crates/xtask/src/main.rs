//! Generates the TypeScript side of the uapi and checks import directions.
fn main() {}
