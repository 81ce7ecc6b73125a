//! The real program, run as a user runs it, in a directory of each test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
mod bucket_mistakes;
mod chains;
mod damage;
#[cfg(unix)]
mod interrupts;
mod killed;
mod mistakes;
mod prune;
mod verbs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use serde_json::{Value, json};

/// A directory to work in, with a database `a.db` in it if it was asked for.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
    /// The home of the user who runs the program, which stays empty.
    home: tempfile::TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    /// With a database `a.db` of so many rows.
    pub(crate) fn with_rows(rows: usize) -> Self {
        let desk = Self::empty();
        database(&desk.path("a.db"), rows, 8);
        desk
    }

    /// With a database and so many snapshots of it, named one, two, three, ..., and their ids, oldest first.
    pub(crate) fn with_snapshots(snapshots: usize) -> (Self, Vec<String>) {
        let desk = Self::with_rows(300);
        let names = ["one", "two", "three", "four"];
        let ids = names.iter().take(snapshots).map(|name| desk.create(name)).collect();
        (desk, ids)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, with nothing of the environment that the tests run in: it may hold somebody's keys.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruvector-snapshot"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.home.path()).env("TMPDIR", std::env::temp_dir());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs what must work, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status, Some(0), "{args:?}: {ran:?}");
        // Progress may be told where a machine is very slow, and nothing else.
        assert!(!ran.stderr.contains("error") && !ran.stderr.contains("panicked"), "{args:?}: {ran:?}");
        ran.stdout
    }

    /// Runs with --json, and gives the status and the document.
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat());
        (ran.status.unwrap(), serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no document: {ran:?}")))
    }

    /// Takes a snapshot of a.db, and gives its id.
    pub(crate) fn create(&self, name: &str) -> String {
        let (status, document) = self.json(&["create", "--db", "a.db", "--name", name]);
        assert_eq!(status, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    }

    /// The ids that list gives, newest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let (_, document) = self.json(&["list"]);
        let ids = document["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }

    /// A file of a snapshot in the default store.
    pub(crate) fn stored(&self, id: &str, file: &str) -> PathBuf {
        self.path(&format!("snapshots/snapshot-{id}/{file}"))
    }

    /// The names of all that lies in a directory.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Ran {
    /// The run failed with this status and told why, in these words, without a panic.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, words: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(self.stderr.contains(words), "{words:?} is not in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert!(self.stderr.len() < 1500, "{self:?}");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Makes a database file. The same rows come out of the same numbers.
pub(crate) fn database(path: &Path, rows: usize, dimensions: usize) {
    let db = open(path, dimensions);
    let numbers: Vec<usize> = (0..rows).collect();
    for chunk in numbers.chunks(10_000) {
        db.insert_batch(chunk.iter().map(|row| entry(*row, dimensions)).collect::<Vec<_>>()).unwrap();
    }
}

pub(crate) fn open(path: &Path, dimensions: usize) -> VectorDB {
    let storage_path = path.to_string_lossy().into_owned();
    VectorDB::new(DbOptions { dimensions, storage_path, hnsw_config: None, ..DbOptions::default() }).unwrap()
}

/// The restored file holds what `database` made.
#[track_caller]
pub(crate) fn assert_holds(path: &Path, rows: usize, dimensions: usize) {
    let db = open(path, dimensions);
    assert_eq!(db.len().unwrap(), rows);
    for row in 0..rows {
        let expected = entry(row, dimensions);
        let found = db.get(expected.id.as_ref().unwrap()).unwrap().unwrap();
        let bits = |entry: &VectorEntry| entry.vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "row {row}");
        assert_eq!(found.metadata, expected.metadata, "row {row}");
    }
}

fn entry(row: usize, dimensions: usize) -> VectorEntry {
    let mut state = row as u32 ^ 0x9e37_79b9;
    let vector = (0..dimensions).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    });
    let metadata = (!row.is_multiple_of(3))
        .then(|| [("row".to_owned(), json!(row)), ("ü".to_owned(), json!([null, "x\n"]))].into());
    VectorEntry { id: Some(format!("id/{row:06}")), vector: vector.collect(), metadata }
}

/// Every file below a directory and its bytes.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
