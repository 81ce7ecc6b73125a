//! The floors of the crate: who may know whom, told by the `use` lines of its sources. Also what every file begins with,
//! and how long it may get.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Every module that stands directly in the crate, and what it may know. Sideways and upwards is nothing.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("error", &[]),
    ("clock", &["error"]),
    ("format", &["error", "clock"]),
    ("store", &["error", "clock"]),
    ("source", &["error", "clock"]),
    ("manager", &["error", "clock", "format", "store", "source"]),
];

const LINES_MAX: usize = 600;

struct Source {
    path: PathBuf,
    /// The modules from the crate's root to the file's own: `["store", "disk"]`.
    module: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Vec<_> = relative.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            module.retain(|name| name != "mod" && name != "lib");
            sources.push(Source { text: std::fs::read_to_string(&path).unwrap(), path, module });
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// The modules directly in the crate that a file names: by `crate::`, and by as many `super::` as lead up to it.
fn used(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        let mut rest = line;
        while let Some(at) = rest.find("crate::") {
            let before = &rest[..at];
            rest = &rest[at + "crate::".len()..];
            if !before.ends_with('$') && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                found.extend(first_names(rest));
            }
        }
        let mut rest = line;
        while let Some(at) = rest.find("super::") {
            rest = &rest[at..];
            let mut ups = 0;
            while let Some(above) = rest.strip_prefix("super::") {
                (rest, ups) = (above, ups + 1);
            }
            if ups >= source.module.len() {
                found.extend(first_names(rest));
            }
        }
    }
    found
}

/// The first name of a path, or the first names of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match path.strip_prefix('{') {
        None => vec![name(path)],
        Some(group) => {
            let mut depth = 0;
            let outer = group.chars().filter(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth == 0
            });
            outer.collect::<String>().split(',').map(name).filter(|name| !name.is_empty()).collect()
        }
    }
}

#[test]
fn no_edge_runs_up_or_sideways() {
    let mut wrong = Vec::new();
    let mut edges = 0;
    for source in sources() {
        let Some(own) = source.module.first() else { continue };
        let (_, allowed) = MAY_USE
            .into_iter()
            .find(|(module, _)| module == own)
            .unwrap_or_else(|| panic!("{} has no place in the house: say which", source.path.display()));
        for other in used(&source).into_iter().filter(|other| other != own) {
            edges += 1;
            if !allowed.contains(&other.as_str()) {
                wrong.push(format!("{} uses {other}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(edges > 50, "only {edges} edges were seen: has the way they are written changed?");
}

#[test]
fn the_reader_of_edges_sees_them() {
    let seen = |module: &[&str], text: &str| {
        let module = module.iter().map(|name| (*name).to_owned()).collect();
        used(&Source { path: PathBuf::new(), module, text: text.to_owned() })
    };
    assert_eq!(seen(&["format", "id"], "use crate::store::SnapshotStore;"), ["store"]);
    assert_eq!(seen(&["format", "id"], "    let x = crate::manager::new();"), ["manager"]);
    assert_eq!(seen(&["format", "id"], "use crate::{error::{Result, ErrorKind}, store};"), ["error", "store"]);
    assert_eq!(seen(&["format", "id"], "use super::super::source;"), ["source"]);
    assert_eq!(seen(&["format"], "use super::store::open;"), ["store"]);
    assert!(seen(&["format", "id"], "use super::limits; // crate::").len() <= 1);
    assert!(seen(&["format", "id"], "/// crate::store\n// super::super::store\nuse redb_crate::x;").is_empty());
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.text.starts_with("//! "), "{path} does not begin with what it is");
        let lines = source.text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines, more than {LINES_MAX}: what in it is a thing of its own?"
        );
    }
}
