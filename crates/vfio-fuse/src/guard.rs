//! A process that outlives ours: takes the mount away when we die without having done so.
//!
//! The kernel closes our end of a pipe whatever we die of. A shell waits at the other end and unmounts; a word on the pipe
//! tells it that there is nothing left to do. It stands in a process group of its own, so that what ends ours from the
//! terminal does not end it. (A copy of this process made by `fork` would keep all of its memory.)

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Unmounts `$1` for as long as mount number `$2` is among the mounts: that one and what lies on it.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word && exit
mounted() { while read -r id rest; do [ "$id" = "$1" ] && return; done </proc/self/mountinfo; false; }
while mounted "$2" && umount -l -- "$1"; do :; done
"#;

/// Watches over one mount until it is dismissed.
pub(crate) struct Guard(Child);

impl Guard {
    /// Posts a guard for the mount with that number at `directory`.
    pub(crate) fn post(directory: &Path, id: u64) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "vfio-fuse-guard"]).arg(directory).arg(id.to_string());
        command.current_dir("/").process_group(0);
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
