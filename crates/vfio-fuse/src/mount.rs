//! Mounting and taking away.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount, unmount,
};
use rustix::process::{getegid, geteuid};
use vfio_uapi::Errno;

use crate::errno::errno;
use crate::guard::Guard;
use crate::herald::Root;
use crate::mount_table::{is_mounted, uppermost};

/// Where a file system is mounted.
#[derive(Debug, Clone)]
pub enum Target {
    /// At a directory. A process of its own takes the mount away when this one dies.
    Directory(PathBuf),
    /// Nowhere yet: the caller moves the mount that [`mount_fd`](crate::Session::mount_fd) gives (`move_mount`), and once nobody
    /// holds it, it is gone.
    Detached,
}

/// How a file system is mounted.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Name of the source, as `mount` lists it.
    pub name: String,
    /// Users but the one who mounts may look in.
    pub allow_other: bool,
    /// The kernel checks owners and permission bits.
    pub default_permissions: bool,
    /// Files may have others behind their mappings, and direct ones may be mapped.
    pub passthrough: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { name: "vfio".into(), allow_other: true, default_permissions: true, passthrough: false }
    }
}

/// Why nothing was mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountError {
    /// The step that was refused.
    pub step: &'static str,
    /// With what.
    pub errno: Errno,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.errno)
    }
}

impl std::error::Error for MountError {}

/// A mount and what takes it away.
pub(crate) struct Mounted {
    place: Place,
}

enum Place {
    Directory { path: PathBuf, id: Option<u64>, guard: Option<Guard> },
    Detached(OwnedFd),
}

/// Opens a connection and mounts what is behind it.
pub(crate) fn connect(target: &Target, options: &MountOptions) -> Result<(OwnedFd, Mounted), MountError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fuse = open("/dev/fuse", flags, Mode::empty()).map_err(refused("opening /dev/fuse"))?;
    let place = match target {
        Target::Directory(directory) => {
            let directory =
                fs::canonicalize(directory).map_err(|error| failed("finding the directory", &error))?;
            if !directory.is_dir() {
                return Err(MountError { step: "finding the directory", errno: Errno::ENOTDIR });
            }
            let id = mount_at(&directory, &fuse, options)?;
            let guard = id.and_then(|id| Guard::post(&directory, id).ok());
            Place::Directory { path: directory, id, guard }
        }
        Target::Detached => Place::Detached(mount_detached(&fuse, options)?),
    };
    Ok((fuse, Mounted { place }))
}

/// Mounts, and tells the number of the mount where `/proc` does.
fn mount_at(directory: &Path, fuse: &OwnedFd, options: &MountOptions) -> Result<Option<u64>, MountError> {
    /// Two of us at one directory, one after the other.
    static ONE: Mutex<()> = Mutex::new(());
    let settings = settings(fuse, options).into_iter().map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.to_owned(),
    });
    let mut text = settings.collect::<Vec<_>>().join(",").into_bytes();
    text.push(0);
    let text =
        std::ffi::CStr::from_bytes_with_nul(&text).map_err(|_| failed_with("mounting", Errno::EINVAL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    let _one = ONE.lock();
    mount(&*options.name, directory, "fuse.vfio", flags, text).map_err(refused("mounting"))?;
    Ok(uppermost(directory))
}

fn mount_detached(fuse: &OwnedFd, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let refused = refused("mounting");
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(&refused)?;
    fsconfig_set_string(&context, "source", &*options.name).map_err(&refused)?;
    for (name, value) in settings(fuse, options) {
        match value {
            Some(value) => fsconfig_set_string(&context, name, &*value),
            None => fsconfig_set_flag(&context, name),
        }
        .map_err(&refused)?;
    }
    fsconfig_create(&context).map_err(&refused)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(&refused)
}

/// What the kernel wants to know of the file system.
fn settings(fuse: &OwnedFd, options: &MountOptions) -> Vec<(&'static str, Option<String>)> {
    let mut settings = vec![
        ("fd", Some(fuse.as_raw_fd().to_string())),
        ("rootmode", Some("40755".into())),
        ("user_id", Some(geteuid().as_raw().to_string())),
        ("group_id", Some(getegid().as_raw().to_string())),
    ];
    if options.allow_other {
        settings.push(("allow_other", None));
    }
    if options.default_permissions {
        settings.push(("default_permissions", None));
    }
    settings
}

impl Mounted {
    /// Lends the mount that is nowhere yet.
    pub(crate) fn fd(&self) -> Option<&OwnedFd> {
        match &self.place {
            Place::Detached(fd) => Some(fd),
            Place::Directory { .. } => None,
        }
    }

    /// Says where the root is.
    pub(crate) fn root(&self) -> io::Result<Root> {
        match &self.place {
            Place::Directory { path, .. } => Ok(Root::Directory(path.clone())),
            Place::Detached(fd) => Ok(Root::Mount(fd.try_clone()?)),
        }
    }

    /// Takes the mount away, with what was mounted on top of it, and nothing else. Whoever uses it keeps what is open; its
    /// directory is free.
    pub(crate) fn take_away(self) {
        let Place::Directory { path, id, guard } = self.place else { return };
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        match id {
            Some(id) => while is_mounted(id, &path) && unmount(&path, flags).is_ok() {},
            // EINVAL: somebody else has unmounted it.
            None => drop(unmount(&path, flags)),
        }
        if let Some(guard) = guard {
            guard.dismiss();
        }
    }
}

fn refused(step: &'static str) -> impl Fn(rustix::io::Errno) -> MountError {
    move |error| MountError { step, errno: errno(error) }
}

fn failed(step: &'static str, error: &io::Error) -> MountError {
    failed_with(step, error.raw_os_error().and_then(Errno::from_code).unwrap_or(Errno::EIO))
}

fn failed_with(step: &'static str, errno: Errno) -> MountError {
    MountError { step, errno }
}
