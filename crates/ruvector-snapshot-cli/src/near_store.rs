//! Where a store may be that was not found where it was looked for: in a directory inside. Used for messages only.

use std::fs;
use std::path::{Path, PathBuf};

use ruvector_snapshot::store::Location;

use crate::output::quoted;
use crate::values::DIRECTORY_PREFIX;

/// Directories that are named.
const SHOWN_MAX: usize = 4;
/// Directories above that are looked at.
const ANCESTORS_MAX: usize = 3;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 1000;

/// Says that a directory inside that of the store holds snapshots, in words that follow on. Empty if none does.
pub(crate) fn store_inside(location: &Location) -> String {
    let Location::Local(path) = location else { return String::new() };
    let inside = entries(path).into_iter().filter(|entry| entry.is_dir() && holds_snapshots(entry));
    let shown: Vec<_> = inside.take(SHOWN_MAX).map(|inside| quoted(&inside.to_string_lossy())).collect();
    if shown.is_empty() {
        return String::new();
    }
    format!(" (there are snapshots at {})", shown.join(", "))
}

/// Returns the warning for a new store inside a directory that holds snapshots itself: it may be a mistyped name of that store.
pub(crate) fn store_around(location: &Location) -> Option<String> {
    let Location::Local(path) = location else { return None };
    let path = std::path::absolute(path).ok()?;
    let around = path.ancestors().skip(1).take(ANCESTORS_MAX).find(|ancestor| holds_snapshots(ancestor))?;
    Some(format!(
        "the new store {} is inside of the store {}: check that this is not a mistyped location; a store should have only snapshots in it",
        quoted(&path.to_string_lossy()),
        quoted(&around.to_string_lossy())
    ))
}

fn holds_snapshots(directory: &Path) -> bool {
    let is_snapshot = |entry: &PathBuf| {
        let name = entry.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with(DIRECTORY_PREFIX)) && entry.join("metadata.json").is_file()
    };
    entries(directory).iter().any(is_snapshot)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().take(ENTRIES_MAX);
    let mut entries: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries
}
