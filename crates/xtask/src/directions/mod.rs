//! Checks that imports follow the plan of the house: crates, TypeScript folders, no loops.

mod crates;
mod folders;
mod imports;
mod loops;
mod table;

use std::path::Path;

/// Checks everything and lists every complaint with its remedy.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let (crate_count, mut complaints) = crates::check(root)?;
    let modules = imports::modules(&root.join("ts")).map_err(|error| format!("ts: {error}"))?;
    complaints.extend(folders::check(&modules));
    complaints.extend(loops::check(&modules));
    if complaints.is_empty() {
        return Ok(format!("directions: {crate_count} crates and {} modules follow the plan", modules.len()));
    }
    Err(format!("{}\ndirections: {} import(s) against the plan", complaints.join("\n"), complaints.len()))
}
