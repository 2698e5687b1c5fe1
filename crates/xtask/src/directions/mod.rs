//! Checks that imports follow the plan of the house (crates, TypeScript folders, no loops), and that ARCHITECTURE.md tells it.

mod crates;
mod folders;
mod imports;
mod loops;
mod plan;
mod table;

use std::path::Path;

/// Checks everything and lists every complaint with its remedy.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let (crate_count, mut complaints) = crates::check(root)?;
    let modules = imports::modules(&root.join("ts")).map_err(|error| format!("ts: {error}"))?;
    complaints.extend(folders::check(&modules));
    complaints.extend(loops::check(&modules));
    complaints.extend(plan::check(root));
    if complaints.is_empty() {
        return Ok(format!("directions: {crate_count} crates and {} modules follow the plan", modules.len()));
    }
    Err(format!("{}\ndirections: {} point(s) against the plan", complaints.join("\n"), complaints.len()))
}
