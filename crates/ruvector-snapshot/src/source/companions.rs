//! Files that belong to a database and lie beside it. A snapshot does not hold them, so it must name them.
//!
//! Ruvector's programs keep such files under names that follow from the name of the database. Only those names are looked
//! for: every other file of the directory belongs to somebody else.

use std::collections::BTreeSet;
use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{COLLECTION_FILE, database_path};

/// Suffixes of the name of the database file, and what such a file holds.
const SUFFIXES: [(&str, &str); 5] = [
    (".agentic", "the episodes, skills, causal edges and learning sessions of AgenticDB"),
    (".meta.json", "the dimensions, the metric and the model that the ruvector command line of npm checks"),
    (".rvf", RVF),
    (".rvf.idmap.json", IDMAP),
    (".idmap.json", IDMAP),
];

/// Extensions in place of that of the database file.
const EXTENSIONS: [(&str, &str); 4] = [
    ("rvf", RVF),
    ("rvf.idmap.json", IDMAP),
    ("rbpx", RBPX),
    ("rbpx.meta.json", "the description of the vectors in the file .rbpx"),
];

const RVF: &str = "vectors in the RVF format of the npm package ruvector";
const IDMAP: &str = "the ids of the vectors in an RVF file";
const RBPX: &str = "vectors in the format of the Python package ruvector";

/// Returns a sentence `PATH: what it holds` for each file that belongs to the database at this absolute path, and for each
/// path that cannot be checked.
pub(crate) fn beside(database: &Path) -> Vec<String> {
    // Programs name these files after the path that they are given, which may be a link to the database or its target.
    let target = database.canonicalize().ok().filter(|target| target != database);
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (path, what) in [Some(database), target.as_deref()].into_iter().flatten().flat_map(candidates) {
        let shown = database_path::text(&path);
        match path.metadata() {
            Ok(file) if seen.insert((file.dev(), file.ino())) => found.push(format!("{shown}: {what}")),
            Ok(_) => {}
            // A name that is too long for the file system is the name of no file.
            Err(error) if matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) => {}
            Err(error) => found.push(format!("{shown}: {what}, if it exists; it cannot be checked ({error})")),
        }
    }
    found
}

/// Returns the paths of everything that may belong to a database.
fn candidates(database: &Path) -> Vec<(PathBuf, &'static str)> {
    let Some(name) = database.file_name() else { return Vec::new() };
    let with_suffix = |suffix: &str| {
        let mut name = name.to_owned();
        name.push(suffix);
        database.with_file_name(name)
    };
    let mut candidates: Vec<_> = SUFFIXES.iter().map(|(suffix, what)| (with_suffix(suffix), *what)).collect();
    // The extension of the database itself can be one of these.
    let own = |path: &PathBuf| path != database;
    let others = EXTENSIONS.iter().map(|(extension, what)| (database.with_extension(extension), *what));
    candidates.extend(others.filter(|(path, _)| own(path)));
    if name == COLLECTION_FILE {
        candidates.push((database.with_file_name("metadata.json"), "the name and the settings of the collection"));
        let base = database.parent().and_then(Path::parent);
        candidates.extend(base.map(|base| (base.join("aliases.json"), "the aliases of the collections")));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    /// Returns the paths of the sentences, relative to a directory.
    fn names(database: &Path, directory: &Path) -> Vec<String> {
        let path = |text: &String| text.split_once(": ").unwrap().0.to_owned();
        let relative = |path: String| path.strip_prefix(&format!("{}/", directory.display())).unwrap().to_owned();
        beside(database).iter().map(path).map(relative).collect()
    }

    #[test]
    fn only_files_that_exist_and_belong_to_the_database_are_named() {
        let (_dir, path) = directory();
        for name in ["a.db", "a.db.bak", "b.db.agentic", "metadata.json", "aliases.json", "a.npy", "vectors.db.agentic"]
        {
            fs::write(path.join(name), "").unwrap();
        }
        assert_eq!(names(&path.join("a.db"), &path), Vec::<String>::new());
        for name in ["a.db.agentic", "a.db.meta.json", "a.rvf", "a.rvf.idmap.json"] {
            fs::write(path.join(name), "").unwrap();
        }
        let expected = ["a.db.agentic", "a.db.meta.json", "a.rvf", "a.rvf.idmap.json"];
        assert_eq!(names(&path.join("a.db"), &path), expected);
        let long = path.join("x".repeat(252));
        fs::write(&long, "").unwrap();
        assert_eq!(names(&long, &path), Vec::<String>::new());
        // A link that leads nowhere is no file.
        symlink("nowhere", path.join("b.db.meta.json")).unwrap();
        assert_eq!(names(&path.join("b.db"), &path), ["b.db.agentic"]);
    }

    #[test]
    fn a_collection_has_its_description_and_the_aliases_above_it() {
        let (_dir, path) = directory();
        fs::create_dir(path.join("articles")).unwrap();
        let database = path.join("articles/vectors.db");
        for file in [&database, &path.join("aliases.json"), &path.join("articles/metadata.json")] {
            fs::write(file, "").unwrap();
        }
        assert_eq!(names(&database, &path), ["articles/metadata.json", "aliases.json"]);
        assert_eq!(names(&path.join("articles/other.db"), &path), Vec::<String>::new());
    }

    #[test]
    fn what_lies_beside_the_target_of_a_link_belongs_to_it_too() {
        let (_dir, path) = directory();
        fs::create_dir(path.join("data")).unwrap();
        for name in ["data/a.db", "data/a.db.agentic", "link.db.meta.json"] {
            fs::write(path.join(name), "").unwrap();
        }
        symlink("data/a.db", path.join("link.db")).unwrap();
        assert_eq!(names(&path.join("link.db"), &path), ["link.db.meta.json", "data/a.db.agentic"]);
        // The same file is named once.
        symlink("data", path.join("current")).unwrap();
        assert_eq!(names(&path.join("current/a.db"), &path), ["current/a.db.agentic"]);
    }

    #[test]
    fn what_cannot_be_checked_is_named() {
        let (_dir, path) = directory();
        // A link to itself fails in the same way for every user.
        symlink("a.db.agentic", path.join("a.db.agentic")).unwrap();
        let found = beside(&path.join("a.db"));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("a.db.agentic") && found[0].contains("cannot be checked"), "{found:?}");
    }
}
