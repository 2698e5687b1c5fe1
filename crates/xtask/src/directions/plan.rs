//! Whether ARCHITECTURE.md still says what is so: the tables of directions, and which modules hold unsafe code.

use std::path::Path;

use super::table::{APART, CRATES, LAYERS};

const DOCUMENT: &str = "ARCHITECTURE.md";

/// Complains of tables and modules that the document does not name.
pub(super) fn check(root: &Path) -> Vec<String> {
    let Ok(document) = std::fs::read_to_string(root.join(DOCUMENT)) else {
        return vec![format!("{DOCUMENT}: missing")];
    };
    let mut complaints = Vec::new();
    for (about, text) in [("crates", crates()), ("layers", layers())] {
        if !document.contains(&text) {
            complaints
                .push(format!("{DOCUMENT}: the table of {about} is out of date; it should read\n{text}"));
        }
    }
    for path in unsafe_modules(root) {
        if !named(&document, &path) {
            complaints.push(format!(
                "{DOCUMENT}: {path} opts in to unsafe code; name it, and why, in the table there"
            ));
        }
    }
    complaints
}

fn crates() -> String {
    format!("{}\n", CRATES.join(" → "))
}

fn layers() -> String {
    let row = |row: &&[&str]| match row {
        [one] => (*one).to_owned(),
        _ => format!("{{ {} }}", row.join(", ")),
    };
    let layers = LAYERS.iter().map(row).collect::<Vec<_>>().join("\n→ ");
    let apart = APART.iter().map(|(folder, targets)| format!("{folder} → {}\n", targets.join(", ")));
    format!("{layers}\n\n{}", apart.collect::<String>())
}

/// Tells whether the document names a module or one that it is part of.
fn named(document: &str, path: &str) -> bool {
    let module = path.trim_end_matches(".rs");
    Path::new(module)
        .ancestors()
        .filter_map(Path::to_str)
        .take_while(|ancestor| !ancestor.ends_with("/src"))
        .any(|ancestor| document.contains(&format!("`{ancestor}`")))
}

fn unsafe_modules(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && name != "xtask" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && std::fs::read_to_string(&path).is_ok_and(|source| source.contains("expect(unsafe_code"))
                && let Ok(own) = path.strip_prefix(root)
            {
                found.push(own.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_itself_or_by_what_it_is_part_of() {
        let document = "`crates/vfio-iommu/src/page_table` and `crates/vfio-memory/src/copy`";
        assert!(named(document, "crates/vfio-iommu/src/page_table/walk.rs"));
        assert!(named(document, "crates/vfio-memory/src/copy.rs"));
        assert!(!named(document, "crates/vfio-memory/src/mapping.rs"));
        assert!(!named("`crates/vfio-memory/src`", "crates/vfio-memory/src/mapping.rs"));
    }
}
