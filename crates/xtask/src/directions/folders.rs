//! Directions between the folders of `ts/`.

use super::imports::{Import, Modules};
use super::table::{APART, LAYERS, USERS_OF_APART};

/// Complains of every import that the tables do not allow.
pub(super) fn check(modules: &Modules) -> Vec<String> {
    let mut complaints = Vec::new();
    for (from, imports) in modules {
        for import in imports {
            complaints.extend(complaint(from, import, modules).map(|text| format!("ts/{from}: {text}")));
        }
    }
    complaints
}

fn complaint(from: &str, import: &Import, modules: &Modules) -> Option<String> {
    match import {
        Import::Package(name) if name.starts_with("node:") => None,
        Import::Package(name) => Some(format!(
            "imports the package {name}; the package has no dependencies at run time, so write what is needed"
        )),
        Import::Outside(path) => {
            Some(format!("imports {path}; relative imports end in .ts and stay within ts/"))
        }
        Import::Module(to) if !modules.contains_key(to) => {
            Some(format!("imports ts/{to}, which does not exist; write the file or correct the path"))
        }
        Import::Module(to) => {
            direction(folder(from), folder(to)).map(|why| format!("imports ts/{to}; {why}"))
        }
    }
}

/// Names the folder, or the root file without its extension, that a module belongs to.
fn folder(module: &str) -> &str {
    module.split_once('/').map_or(module.trim_end_matches(".ts"), |(folder, _)| folder)
}

fn direction(from: &str, to: &str) -> Option<String> {
    let row = |name: &str| LAYERS.iter().position(|row| row.contains(&name));
    let allowed = |table: &'static [(&str, &'static [&str])], name: &str| {
        table.iter().find(|(own, _)| *own == name).map(|(_, list)| *list)
    };
    if from == to {
        return None;
    }
    for name in [from, to] {
        if row(name).is_none() && allowed(APART, name).is_none() {
            return Some(format!(
                "ts/{name} has no place in the plan; give it one in crates/xtask/src/directions/table.rs"
            ));
        }
    }
    if let Some(targets) = allowed(APART, from) {
        return (!targets.contains(&to)).then(|| format!("{from} imports {} only", targets.join(", ")));
    }
    if let Some(users) = allowed(USERS_OF_APART, to) {
        let users = if users.is_empty() { "nothing".to_owned() } else { users.join(", ") };
        return (!users.split(", ").any(|user| user == from))
            .then(|| format!("{users} imports {to}, and nothing else does"));
    }
    match row(from).cmp(&row(to)) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => {
            Some(format!("{from} and {to} are neighbours; let host wire them, or move what both need down"))
        }
        std::cmp::Ordering::Greater => {
            Some(format!("{from} stands below {to}; move what both need down, or let {to} pass it in"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_go_down_only() {
        assert_eq!(direction("host", "type1"), None);
        assert_eq!(direction("group", "uapi"), None);
        assert!(direction("group", "host").is_some_and(|why| why.contains("stands below")));
        assert!(direction("type1", "pci").is_some_and(|why| why.contains("neighbours")));
    }

    #[test]
    fn folders_apart_import_what_their_row_says() {
        assert_eq!(direction("drivers", "mdev"), None);
        assert!(direction("drivers", "native").is_some());
        assert_eq!(direction("index", "drivers"), None);
        assert!(direction("host", "cli").is_some());
        assert!(direction("host", "utils").is_some_and(|why| why.contains("no place")));
    }
}
