//! Checks the structure of the crates by reading their sources: which module may use which, and what every file looks
//! like.
//!
//! ```text
//! cli → scheduler → manager → ops → {repo, policy} → {store, source} → format
//! ```
//!
//! Cargo enforces the edges between crates. These tests enforce the edges inside the library. `source` reads the files
//! and finds the paths in them; this file holds the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod source;

use source::{Crate, Target};

/// The modules at the root of the library, lowest floor first. A module may use the floors below its own.
const FLOORS: [&[&str]; 8] = [
    &["error"],
    &["clock", "sync", "text"],
    &["store", "source"],
    &["config", "progress", "snapshot"],
    &["repo", "policy"],
    &["ops"],
    &["manager"],
    &["scheduler"],
];

const CRATES: [&str; 6] = [
    "redb-live",
    "ruvector-snapshot-format",
    "ruvector-snapshot",
    "ruvector-snapshot-cli",
    "test-fixtures",
    "test-servers",
];

/// The crates without which the format must build.
const NOT_IN_FORMAT: [&str; 4] = ["tokio", "object_store", "ruvector-core", "redb"];

const LINES_MAX: usize = 600;

fn library() -> Crate {
    Crate::read("ruvector-snapshot")
}

fn cli() -> Crate {
    Crate::read("ruvector-snapshot-cli")
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_module_uses_only_the_floors_below_it() {
    let library = library();
    let (mut violations, mut edges) = (Vec::new(), 0);
    for edge in library.edges() {
        let (from, to) = (&library.files[edge.from], &library.files[edge.to]);
        let (Some(own), Some(other)) = (from.module.first(), to.module.first()) else { continue };
        if own == other {
            continue;
        }
        edges += 1;
        let is_allowed = match (floor_of(own), floor_of(other)) {
            (Some(own), Some(other)) => other < own,
            _ => panic!("{own} or {other} is on no floor: add it to FLOORS"),
        };
        if !is_allowed {
            violations.push(format!("{} uses {} ({})", from.name(), to.name(), edge.path));
        }
    }
    assert_none(&violations);
    assert!(edges > 50, "only {edges} edges were found: are the sources written in another way now?");
}

#[test]
fn every_module_is_on_a_floor() {
    for file in library().files {
        if let Some(module) = file.module.first() {
            assert!(floor_of(module).is_some(), "{} is on no floor: add {module} to FLOORS", file.name());
        }
    }
}

#[test]
fn a_verb_uses_no_other_verb() {
    let library = library();
    let mut violations = Vec::new();
    for edge in library.edges() {
        let (from, to) = (&library.files[edge.from], &library.files[edge.to]);
        if let (["ops", own, ..], ["ops", other, ..]) = (from.module().as_slice(), to.module().as_slice())
            && own != other
        {
            violations.push(format!("{} uses {} ({})", from.name(), to.name(), edge.path));
        }
    }
    assert_none(&violations);
}

#[test]
fn only_the_facade_names_the_manager() {
    let is_facade = |module: &[&str]| matches!(module, [] | ["manager" | "scheduler", ..]);
    let library = library();
    let others = library.files.iter().filter(|file| !is_facade(&file.module()));
    let violations: Vec<_> =
        others.filter(|file| file.names("SnapshotManager")).map(|file| format!("{} names it", file.name())).collect();
    assert_none(&violations);
}

#[test]
fn a_store_does_not_know_the_format() {
    let library = library();
    let mut violations = Vec::new();
    for (file, target, path) in library.targets() {
        if library.files[file].module().first() == Some(&"store")
            && target == Target::External("ruvector_snapshot_format".to_owned())
        {
            violations.push(format!("{} uses {path}", library.files[file].name()));
        }
    }
    assert_none(&violations);
}

#[test]
fn the_format_needs_no_runtime_and_no_database() {
    let dependencies = Crate::read("ruvector-snapshot-format").dependencies();
    assert!(dependencies.contains(&"serde".to_owned()), "{dependencies:?}");
    let violations: Vec<_> = dependencies.into_iter().filter(|name| NOT_IN_FORMAT.contains(&name.as_str())).collect();
    assert_none(&violations);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut violations = Vec::new();
    for name in CRATES {
        violations.extend(Crate::read(name).circles());
    }
    assert_none(&violations);
}

#[test]
fn the_command_line_builds_no_object_keys() {
    let cli = cli();
    let mut violations = Vec::new();
    for file in &cli.files {
        // A message has spaces, a key has none.
        let keys = file.literals.iter().filter(|text| text.contains("snapshot-{") && !text.contains(' '));
        violations.extend(keys.map(|key| format!("{} builds {key:?}", file.name())));
    }
    assert_none(&violations);
}

#[test]
fn the_command_line_uses_only_the_api_of_the_library() {
    let cli = cli();
    let internal = ["ruvector-snapshot-format", "redb-live", "object_store"];
    let mut violations: Vec<_> =
        cli.dependencies().into_iter().filter(|name| internal.contains(&name.as_str())).collect();
    for (file, target, path) in cli.targets() {
        if target == Target::External("ruvector_snapshot".to_owned()) && path.contains("::testing") {
            violations.push(format!("{} uses {path}", cli.files[file].name()));
        }
    }
    assert_none(&violations);
}

#[test]
fn every_file_begins_with_its_purpose() {
    for file in CRATES.into_iter().flat_map(|name| Crate::read(name).files) {
        // A crate may begin with its README.
        let is_described = file.text.starts_with("//! ") || file.text.starts_with("#![doc = include_str!(");
        assert!(is_described, "{} does not begin with //!", file.name());
    }
}

#[test]
fn no_file_is_too_long() {
    for file in CRATES.into_iter().flat_map(|name| Crate::read(name).files) {
        let lines = file.text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}: split it", file.name());
    }
}
