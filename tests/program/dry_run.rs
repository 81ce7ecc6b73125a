//! `--dry-run` of every command that writes: nothing is written, in the store or beside it, and what it says is what the
//! command then does. That of `restore` of all records to a new
//! file is in `restore_plans`.

#[cfg(target_os = "linux")]
mod access;
mod creates;
mod exports;
mod merges;
mod reads;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};
use test_servers::S3Server;

use super::bucket::{Bucket, Server};
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, open_database};

/// Commands that print a document and write nothing. `demo` writes, to a directory of its own, and `schedule` has `--next`.
const WITHOUT: [&str; 15] = [
    "config-check",
    "config-path",
    "config-show",
    "demo",
    "diff",
    "dump",
    "find",
    "list",
    "schedule",
    "search",
    "show",
    "stats",
    "status",
    "store-options",
    "version",
];

#[test]
fn every_command_that_writes_has_a_dry_run() {
    let sandbox = Sandbox::empty();
    let schemas = test_fixtures::names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema"));
    // The progress of every command has one, too.
    let names = schemas.iter().map(|name| name.trim_end_matches(".json")).filter(|name| *name != "progress");
    for name in names {
        let command: Vec<_> = name.split('-').chain(["--help"]).collect();
        let has_it = sandbox.ok(&command).lines().any(|line| line.trim() == "--dry-run");
        assert_eq!(has_it, !WITHOUT.contains(&name), "{name}");
    }
}

/// The path of each file and directory, with the contents and the time of its last change.
type Tree = BTreeMap<String, (Option<Vec<u8>>, SystemTime)>;

/// A store on a disk, or in a bucket, and the directory in which the program runs.
pub(super) enum Place {
    Disk(Sandbox),
    Bucket(Bucket),
}

impl Place {
    /// Returns a place of each kind, with a database of 300 rows and no snapshots.
    pub(super) fn each() -> [Self; 2] {
        [Self::Disk(Sandbox::with_rows(300)), Self::Bucket(Bucket::s3(S3Server::start()))]
    }

    /// As [`each`](Self::each), with a full snapshot `full` and an increment `inc`, of which a record differs.
    pub(super) fn with_chain() -> [Self; 2] {
        Self::each().map(|place| {
            place.ok(&["create", "--db", "a.db", "--name", "full"]);
            let db = open_database(&place.sandbox().path("a.db"), DIMENSIONS);
            let mut record = db.get("id-000001").unwrap().unwrap();
            record.vector = vec![7.0; DIMENSIONS];
            db.insert(record).unwrap();
            drop(db);
            place.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "full"]);
            place
        })
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        match self {
            Self::Disk(sandbox) => sandbox,
            Self::Bucket(bucket) => &bucket.sandbox,
        }
    }

    pub(super) fn run(&self, args: &[&str]) -> RunResult {
        match self {
            Self::Disk(sandbox) => sandbox.run(args),
            Self::Bucket(bucket) => bucket.run(args),
        }
    }

    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> String {
        let result = self.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result.stdout
    }

    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> (i32, Value) {
        self.run(&[args, &["--json"]].concat()).into_json()
    }

    /// Runs a command with `--dry-run`, and asserts that it has changed nothing and sent nothing but reads. The second run
    /// prints the document.
    #[track_caller]
    pub(super) fn dry(&self, args: &[&str]) -> (RunResult, Value) {
        let args = &[args, &["--dry-run"]].concat();
        let before = self.contents();
        if let Self::Bucket(bucket) = self {
            bucket.server.wire().reset_log();
        }
        let (result, (exit_code, document)) = (self.run(args), self.json(args));
        assert_eq!(Some(exit_code), result.exit_code, "{args:?}: {result:?} {document}");
        if let Self::Bucket(bucket) = self {
            let requests = bucket.server.wire().requests();
            assert!(requests.iter().all(|request| ["GET", "HEAD"].contains(&request.method.as_str())), "{requests:?}");
        }
        assert!(self.contents() == before, "{args:?} has changed something: {result:?}");
        if [0, 5].contains(&exit_code) {
            assert!(result.stdout.contains("(--dry-run)\n"), "{args:?}: {result:?}");
            assert_eq!(document["dry_run"], true, "{args:?}: {document}");
        }
        (result, document)
    }

    /// As [`dry`](Self::dry), and asserts that the command would succeed.
    #[track_caller]
    pub(super) fn would(&self, args: &[&str]) -> (String, Value) {
        let (result, document) = self.dry(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        (result.stdout, document)
    }

    /// Asserts that a command with `--dry-run` fails with the exit code and the error of the command. Returns its document.
    #[track_caller]
    pub(super) fn would_fail(&self, args: &[&str], text: &str) -> Value {
        let (planned, document) = self.dry(args);
        let (exit_code, done) = self.json(args);
        assert_eq!(planned.exit_code, Some(exit_code), "{args:?}: {planned:?} {done}");
        let blocker = &document["blockers"][0];
        assert_eq!(
            (&document["feasible"], &blocker["kind"]),
            (&json!(false), &done["error"]["kind"]),
            "{document} {done}"
        );
        // The first error is the one that the command fails with.
        let (_, first) = planned.stderr.split_once("error: ").unwrap();
        assert!(first.split("\nerror: ").next().unwrap().contains(text), "{text:?}: {planned:?}");
        assert!(done["error"]["message"].as_str().unwrap().contains(text), "{text:?}: {done}");
        assert!(planned.stdout.starts_with("could not "), "{planned:?}");
        document
    }

    fn contents(&self) -> (Tree, BTreeMap<String, Vec<u8>>) {
        let objects = match self {
            Self::Disk(_) => BTreeMap::new(),
            Self::Bucket(bucket) => match &bucket.server {
                Server::S3(server) => server.objects().into_iter().map(|(key, bytes)| (key, bytes.to_vec())).collect(),
                Server::Gcs(_) => BTreeMap::new(),
            },
        };
        let mut tree = Tree::new();
        add(&self.sandbox().path("."), &mut tree);
        (tree, objects)
    }
}

fn add(path: &Path, tree: &mut Tree) {
    let metadata = path.symlink_metadata().unwrap();
    let contents = metadata.is_file().then(|| fs::read(path).unwrap());
    tree.insert(path.display().to_string(), (contents, metadata.modified().unwrap()));
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| add(&entry.unwrap().path(), tree));
    }
}
