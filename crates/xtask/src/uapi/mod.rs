//! Writes `ts/uapi` from the declarations of `vfio-uapi`.
//!
//! Each file is made in the form that prettier would give it, so that formatting and drift never disagree.

mod constants;
mod errno;
mod ioctl;
mod source;
mod structs;

use std::path::Path;

use vfio_uapi::Section;

/// A header: what its declarations are called, and where its files are.
struct Header {
    name: &'static str,
    sections: &'static [Section],
    /// Whether info structures carry capabilities.
    capabilities: bool,
    /// Way from its files to those of all headers.
    root: &'static str,
}

const PRESENT: &Header = &Header {
    name: "the VFIO, iommufd and KVM headers",
    sections: vfio_uapi::SECTIONS,
    capabilities: true,
    root: "./",
};

const OF_2011: &Header = &Header {
    name: "the VFIO header of 2011",
    sections: vfio_uapi::vfio2011::SECTIONS,
    capabilities: false,
    root: "../",
};

/// A generated file: its path, its maker and what of.
type File = (&'static str, fn(&Header) -> String, &'static Header);

const FILES: &[File] = &[
    ("ts/uapi/constants.ts", constants::source, PRESENT),
    ("ts/uapi/errno.ts", errno::source, PRESENT),
    ("ts/uapi/ioctl.ts", ioctl::source, PRESENT),
    ("ts/uapi/structs.ts", structs::source, PRESENT),
    ("ts/uapi/2011/constants.ts", constants::source, OF_2011),
    ("ts/uapi/2011/ioctl.ts", ioctl::source, OF_2011),
    ("ts/uapi/2011/structs.ts", structs::source, OF_2011),
];

/// Writes every file that differs from what is declared.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    let mut written = Vec::new();
    for (path, source, header) in FILES {
        let (at, source) = (root.join(path), source(header));
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
    let differs = |(path, source, header): &&File| {
        std::fs::read_to_string(root.join(path)).ok().as_deref() != Some(&source(header))
    };
    let stale: Vec<_> = FILES.iter().filter(differs).map(|(path, ..)| *path).collect();
    match stale[..] {
        [] => Ok("uapi: ts/uapi is what crates/vfio-uapi declares".to_owned()),
        _ => Err(format!(
            "uapi: {} differ(s) from crates/vfio-uapi; edit the Rust, run `cargo run -p xtask -- uapi`, commit the result",
            stale.join(", ")
        )),
    }
}
