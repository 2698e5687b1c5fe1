//! The plan of the house as data: what may import what. ARCHITECTURE.md quotes these tables.

/// Crates from the top down; a crate may depend on those below it.
pub(super) const CRATES: &[&str] = &[
    "vfio-napi",
    "vfio-run",
    "vfio-fuse",
    "vfio-wire",
    "vfio-device",
    "vfio-iommu",
    "vfio-memory",
    "vfio-uapi",
];

/// External crates that only one crate may name.
pub(super) const RESERVED: &[(&str, &str)] = &[
    ("napi", "vfio-napi"),
    ("napi-derive", "vfio-napi"),
    ("napi-sys", "vfio-napi"),
    ("napi-build", "vfio-napi"),
];

/// Folders and root files of `ts/` from the top down, one row per layer. A module may import from the rows below its own;
/// neighbours in a row do not import each other.
pub(super) const LAYERS: &[&[&str]] = &[
    &["index"],
    &["topology", "run"],
    &["host"],
    &["kvm", "mdev", "iommufd", "spapr", "type1", "pci", "files", "user", "mount"],
    &["group"],
    &["container"],
    &["device"],
    &["memory", "fuse"],
    &["sysfs", "native"],
    &["shape"],
    &["errors"],
    &["uapi"],
];

/// Folders outside the rows: what each may import, and nothing else.
pub(super) const APART: &[(&str, &[&str])] = &[
    ("drivers", &["mdev", "device", "shape", "errors", "uapi"]),
    (
        "vfio2011",
        &[
            "host",
            "pci",
            "files",
            "group",
            "container",
            "device",
            "memory",
            "native",
            "shape",
            "errors",
            "uapi",
        ],
    ),
    ("cli", &["index", "conformance"]),
    ("conformance", &["index", "uapi"]),
];

/// Which modules may import a folder that stands apart.
pub(super) const USERS_OF_APART: &[(&str, &[&str])] =
    &[("drivers", &["index", "topology"]), ("vfio2011", &[]), ("cli", &[]), ("conformance", &["cli"])];
