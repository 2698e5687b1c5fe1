//! Writes `ts/uapi` from the declarations of `vfio-uapi`.
//!
//! Each file is made in the form that prettier would give it, so that formatting and drift never disagree.

mod constants;
mod errno;
mod ioctl;
mod source;
mod structs;

use std::path::Path;

/// A generated file: its path and its maker.
type File = (&'static str, fn() -> String);

const FILES: &[File] = &[
    ("ts/uapi/constants.ts", constants::source),
    ("ts/uapi/errno.ts", errno::source),
    ("ts/uapi/ioctl.ts", ioctl::source),
    ("ts/uapi/structs.ts", structs::source),
];

/// Writes every file that differs from what is declared.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    let mut written = Vec::new();
    for (path, source) in FILES {
        let (at, source) = (root.join(path), source());
        if std::fs::read_to_string(&at).is_ok_and(|old| old == source) {
            continue;
        }
        std::fs::write(&at, source).map_err(|error| format!("{path}: {error}"))?;
        written.push(*path);
    }
    Ok(match written[..] {
        [] => "uapi: up to date".to_owned(),
        _ => format!("uapi: wrote {}", written.join(", ")),
    })
}

/// Fails where a file differs from what is declared.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let differs =
        |(path, source): &&File| std::fs::read_to_string(root.join(path)).ok().as_deref() != Some(&source());
    let stale: Vec<_> = FILES.iter().filter(differs).map(|(path, _)| *path).collect();
    match stale[..] {
        [] => Ok("uapi: ts/uapi is what crates/vfio-uapi declares".to_owned()),
        _ => Err(format!(
            "uapi: {} differ(s) from crates/vfio-uapi; edit the Rust, run `cargo run -p xtask -- uapi`, commit the result",
            stale.join(", ")
        )),
    }
}
