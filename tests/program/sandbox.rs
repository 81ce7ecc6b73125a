//! A directory in which the program runs, and what it printed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ruvector_core::VectorDB;
use serde_json::Value;
use test_fixtures::{contents, make_database, names, options};

/// The dimensions of the database `a.db` of a sandbox.
pub(crate) const DIMENSIONS: usize = 8;

const SEED: u64 = 1;

/// A directory to run the program in, and an empty home directory.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    home: tempfile::TempDir,
}

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    /// Returns a sandbox with a database `a.db` of so many rows.
    pub(crate) fn with_rows(rows: usize) -> Self {
        let sandbox = Self::empty();
        create_database(&sandbox.path("a.db"), rows, DIMENSIONS);
        sandbox
    }

    /// Returns a sandbox with a database and so many snapshots of it, which are named one, two, three and four, and
    /// their ids, oldest first.
    pub(crate) fn with_snapshots(snapshots: usize) -> (Self, Vec<String>) {
        let sandbox = Self::with_rows(300);
        let names = ["one", "two", "three", "four"];
        let ids = names.iter().take(snapshots).map(|name| sandbox.create(name)).collect();
        (sandbox, ids)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns a command that runs the program without the environment of the tests, which may hold credentials.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_program-under-test"), args);
        command.arg0("ruvector-snapshot");
        command
    }

    /// As [`command`](Self::command), of another program.
    pub(crate) fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.home.path()).env("TMPDIR", std::env::temp_dir());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> RunResult {
        RunResult::from(self.command(args).output().unwrap())
    }

    /// Runs the program, asserts that it succeeds, and returns its output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let result = self.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        // On a slow machine the program prints its progress too.
        assert!(!result.stderr.contains("error") && !result.stderr.contains("panicked"), "{args:?}: {result:?}");
        result.stdout
    }

    /// Runs the program, asserts that it is done with a warning that contains `text`, and returns its output.
    #[track_caller]
    pub(crate) fn ok_with_warning(&self, args: &[&str], text: &str) -> String {
        let result = self.run(args);
        result.assert_warns(text);
        result.stdout
    }

    /// Runs the program with `--json`, and returns the exit code and the document.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        self.run(&[args, &["--json"]].concat()).into_json()
    }

    /// Creates a snapshot of `a.db`, and returns its id.
    #[track_caller]
    pub(crate) fn create(&self, name: &str) -> String {
        let (exit_code, document) = self.json(&["create", "--db", "a.db", "--name", name]);
        assert_eq!(exit_code, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    }

    /// Returns the ids that `list` prints, newest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        ids_of(&self.json(&["list"]).1)
    }

    /// Returns the path of a file of a snapshot in the default store.
    pub(crate) fn stored(&self, id: &str, file: &str) -> PathBuf {
        self.path(&format!("snapshots/snapshot-{id}/{file}"))
    }

    /// Returns the names in a directory, sorted.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        names(&self.path(directory))
    }
}

impl RunResult {
    /// Asserts that the run failed with this exit code and an error that contains `text`, and did not panic.
    #[track_caller]
    pub(crate) fn assert_fails(&self, exit_code: i32, text: &str) {
        assert_eq!(self.exit_code, Some(exit_code), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert!(self.stderr.len() < 1500, "{self:?}");
    }

    /// Asserts that the run is done with a warning that contains `text`, and without an error.
    #[track_caller]
    pub(crate) fn assert_warns(&self, text: &str) {
        assert_eq!(self.exit_code, Some(5), "{self:?}");
        let mut warnings = self.stderr.lines().filter_map(|line| line.strip_prefix("warning: "));
        assert!(warnings.any(|warning| warning.contains(text)), "no warning has {text:?}: {self:?}");
        assert!(self.stderr.lines().all(|line| !line.starts_with("error: ")), "{self:?}");
    }

    /// Returns the exit code, and the output as a JSON document.
    #[track_caller]
    pub(crate) fn into_json(self) -> (i32, Value) {
        let document = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("not a JSON document: {self:?}"));
        (self.exit_code.unwrap(), document)
    }
}

impl From<Output> for RunResult {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { exit_code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Returns a command that does the same after a shell has run `setup`, for example `umask 077`.
pub(crate) fn after(setup: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{setup} && exec \"$0\" \"$@\"")]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// Returns the ids in the document of `list`, newest first.
pub(crate) fn ids_of(document: &Value) -> Vec<String> {
    let snapshots = document["snapshots"].as_array().unwrap();
    snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Makes a database file of random vectors with ids `id-000000` and so on.
pub(crate) fn create_database(path: &Path, rows: usize, dimensions: usize) {
    drop(make_database(path, rows, dimensions, SEED));
}

pub(crate) fn open_database(path: &Path, dimensions: usize) -> VectorDB {
    VectorDB::new(options(path, dimensions)).unwrap()
}

/// Asserts that a database file holds what [`create_database`] put into one.
#[track_caller]
pub(crate) fn assert_holds(path: &Path, rows: usize, dimensions: usize) {
    let dir = tempfile::tempdir().unwrap();
    let expected = contents(&make_database(&dir.path().join("expected.db"), rows, dimensions, SEED));
    assert!(contents(&open_database(path, dimensions)) == expected, "{} has other contents", path.display());
}

/// Returns every file below a directory and its bytes.
pub(crate) fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
