//! Dependencies between crates, read from their manifests.

use std::path::Path;

use super::table::{CRATES, RESERVED};

/// Checks every manifest under `crates/`; returns how many there were, and the complaints.
pub(super) fn check(root: &Path) -> Result<(usize, Vec<String>), String> {
    let mut complaints = Vec::new();
    let mut count = 0;
    let folder = root.join("crates");
    for entry in std::fs::read_dir(&folder).map_err(|error| format!("crates: {error}"))?.flatten() {
        let Ok(manifest) = std::fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        count += 1;
        complaints.extend(dependencies(&manifest).iter().filter_map(|to| complaint(&name, to)));
    }
    complaints.sort();
    Ok((count, complaints))
}

fn complaint(from: &str, to: &str) -> Option<String> {
    let file = format!("crates/{from}/Cargo.toml");
    if let Some((_, owner)) = RESERVED.iter().find(|(name, owner)| *name == to && *owner != from) {
        return Some(format!(
            "{file}: only {owner} names {to}; let {from} return plain values and Errno instead"
        ));
    }
    let rank = |name: &str| CRATES.iter().position(|own| *own == name);
    let to_rank = rank(to)?;
    match rank(from) {
        Some(from_rank) if from_rank >= to_rank => Some(format!(
            "{file}: {from} stands below {to} and must not depend on it; move what both need down, or pass it in as a trait"
        )),
        _ => None,
    }
}

/// Lists the dependencies of a manifest, those of tests and build scripts included.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((before, name)) = section.rsplit_once('.')
                && before.ends_with("dependencies")
            {
                names.push(name.to_owned());
            }
        } else if inside && !line.starts_with('#') {
            names.extend(
                line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty()).map(str::to_owned),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_give_their_dependencies_in_every_spelling() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n# c = \"1\"\n\
                        [dev-dependencies]\nd = { path = \"d\" }\n[target.'cfg(unix)'.dependencies.e]\nversion = \"1\"\n";
        assert_eq!(dependencies(manifest), ["a", "b", "d", "e"]);
    }

    #[test]
    fn climbing_and_reserved_names_are_complained_of() {
        assert!(complaint("vfio-memory", "vfio-iommu").is_some_and(|text| text.contains("stands below")));
        assert!(complaint("vfio-device", "napi").is_some_and(|text| text.contains("only vfio-napi")));
        assert_eq!(complaint("vfio-device", "vfio-uapi"), None);
        assert_eq!(complaint("xtask", "vfio-uapi"), None);
    }
}
