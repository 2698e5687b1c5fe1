//! Which TypeScript module imports which: a scanner for import and export declarations, type imports included.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Modules by their path under `ts/`, each with what it imports.
pub(super) type Modules = BTreeMap<String, Vec<Import>>;

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Import {
    /// Of another module: its path under `ts/`.
    Module(String),
    /// Of a package or of Node's own modules.
    Package(String),
    /// Of a path outside `ts/`, or without the extension.
    Outside(String),
}

/// Reads every module under `folder`.
pub(super) fn modules(folder: &Path) -> io::Result<Modules> {
    let mut modules = Modules::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ts") {
                let own = slashes(path.strip_prefix(folder).expect("walked from there"));
                let imports =
                    specifiers(&std::fs::read_to_string(&path)?).iter().map(|to| resolve(&own, to)).collect();
                modules.insert(own, imports);
            }
        }
    }
    Ok(modules)
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn resolve(from: &str, to: &str) -> Import {
    if !to.starts_with('.') {
        return Import::Package(to.to_owned());
    }
    let mut path = PathBuf::from(from);
    path.pop();
    for part in Path::new(to).components() {
        match part {
            Component::ParentDir if !path.pop() => return Import::Outside(to.to_owned()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    if to.ends_with(".ts") { Import::Module(slashes(&path)) } else { Import::Outside(to.to_owned()) }
}

/// Lists what follows `from`, `import` and `import(`, comments left out.
fn specifiers(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Token::Text(text) = token else { continue };
        let before = |back: usize| i.checked_sub(back).and_then(|at| tokens.get(at));
        let keyword =
            |token: Option<&Token>, word: &str| matches!(token, Some(Token::Word(own)) if own == word);
        let called = matches!(before(1), Some(Token::Sign('('))) && keyword(before(2), "import");
        if keyword(before(1), "from") || keyword(before(1), "import") || called {
            found.push(text.clone());
        }
    }
    found
}

#[derive(Debug)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if matches!(first, '\'' | '"' | '`') {
            let len = quoted(rest, first);
            tokens.push(Token::Text(rest[1..len].trim_end_matches(first).to_owned()));
            len
        } else if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..len].to_owned()));
            len
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

/// Measures a quoted text; an unclosed one (a quote within a regular expression) ends with its line.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if quote != '`' => return at,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_import_is_found_and_comments_are_not() {
        let source = "import a from './a.ts'\nimport type { B } from \"./b.ts\"\nexport * from './c.ts'\nimport './d.ts'\n\
                      // from './no.ts'\n/* import './no.ts' */\nlet x: import('./e.ts').E = \"import './f\"\n";
        assert_eq!(specifiers(source), ["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts"]);
    }

    #[test]
    fn a_quote_within_a_regular_expression_ends_with_its_line() {
        assert_eq!(specifiers("const r = /'/\nimport './a.ts'\n"), ["./a.ts"]);
    }

    #[test]
    fn paths_are_resolved_within_the_tree() {
        assert_eq!(resolve("host/host.ts", "../device/ops.ts"), Import::Module("device/ops.ts".to_owned()));
        assert_eq!(resolve("errors.ts", "./uapi/errno.ts"), Import::Module("uapi/errno.ts".to_owned()));
        assert_eq!(resolve("errors.ts", "../test/x.ts"), Import::Outside("../test/x.ts".to_owned()));
        assert_eq!(resolve("errors.ts", "./shape.js"), Import::Outside("./shape.js".to_owned()));
        assert_eq!(resolve("errors.ts", "node:fs"), Import::Package("node:fs".to_owned()));
    }
}
