//! A process that outlives ours: takes the mount away when we die without having done so.
//!
//! The kernel closes our end of a pipe whatever we die of. A shell waits at the other end and unmounts; a word on the pipe
//! tells it that there is nothing left to do. It stands in a process group of its own, so that what ends ours from the
//! terminal does not end it. (A copy of this process made by `fork` would keep all of its memory.)

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"trap '' HUP INT TERM; read -r word || exec umount -l -- "$1" 2>/dev/null"#;

/// Watches over one mount until it is dismissed.
pub(crate) struct Guard(Child);

impl Guard {
    /// Posts a guard for the mount at `directory`.
    pub(crate) fn post(directory: &Path) -> io::Result<Self> {
        let arguments =
            [OsStr::new("-c"), OsStr::new(SCRIPT), OsStr::new("vfio-fuse-guard"), directory.as_os_str()];
        let mut command = Command::new("/bin/sh");
        command.args(arguments).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// Lets the guard go, and waits until it has gone.
    pub(crate) fn dismiss(mut self) {
        let told = self.0.stdin.take().is_some_and(|mut pipe| pipe.write_all(b"gone\n").is_ok());
        if !told {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}
