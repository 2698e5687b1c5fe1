//! Import loops between the modules of `ts/`, type imports included.

use std::collections::BTreeMap;

use super::imports::{Import, Modules};

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    OnPath,
    Done,
}

/// Complains of every loop, once, by a path that closes it.
pub(super) fn check(modules: &Modules) -> Vec<String> {
    let mut marks = BTreeMap::new();
    let mut complaints = Vec::new();
    for start in modules.keys() {
        visit(start, modules, &mut marks, &mut Vec::new(), &mut complaints);
    }
    complaints
}

fn visit<'a>(
    at: &'a str,
    modules: &'a Modules,
    marks: &mut BTreeMap<&'a str, Mark>,
    path: &mut Vec<&'a str>,
    complaints: &mut Vec<String>,
) {
    match marks.get(at) {
        Some(Mark::Done) => return,
        Some(Mark::OnPath) => {
            let start = path.iter().position(|own| *own == at).expect("it is on the path");
            let ring = path[start..].iter().chain([&at]).map(|own| format!("ts/{own}")).collect::<Vec<_>>();
            complaints.push(format!(
                "{}: import loop; move what both ends need into a third file",
                ring.join(" → ")
            ));
            return;
        }
        None => {}
    }
    let Some((at, imports)) = modules.get_key_value(at) else { return };
    marks.insert(at, Mark::OnPath);
    path.push(at);
    for import in imports {
        if let Import::Module(to) = import {
            visit(to, modules, marks, path, complaints);
        }
    }
    path.pop();
    marks.insert(at, Mark::Done);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(edges: &[(&str, &[&str])]) -> Modules {
        let targets = |list: &[&str]| list.iter().map(|to| Import::Module((*to).to_owned())).collect();
        edges.iter().map(|(from, list)| ((*from).to_owned(), targets(list))).collect()
    }

    #[test]
    fn a_loop_is_told_by_its_path() {
        let found = check(&modules(&[("a.ts", &["b.ts"]), ("b.ts", &["c.ts"]), ("c.ts", &["b.ts"])]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("ts/b.ts → ts/c.ts → ts/b.ts: import loop"), "{found:?}");
    }

    #[test]
    fn a_diamond_is_no_loop() {
        let edges: &[(&str, &[&str])] =
            &[("a.ts", &["b.ts", "c.ts"]), ("b.ts", &["d.ts"]), ("c.ts", &["d.ts"]), ("d.ts", &[])];
        assert_eq!(check(&modules(edges)), Vec::<String>::new());
    }
}
