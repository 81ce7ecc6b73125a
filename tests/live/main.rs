//! Snapshots of a database that is being written without a pause, by another process or by another thread.
//!
//! Every commit sets all records of a group to one generation. A snapshot that mixes two commits therefore holds two
//! generations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::SourceReader as _;
use ruvector_snapshot::source::{FileOptions, FileReader, Mirror};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, Snapshot, SnapshotManager};
use test_fixtures::{TestDir, contents, json_object, make_database, names, options};

const DIMENSIONS: usize = 64;
const RECORDS: usize = 250;
const SNAPSHOTS: usize = 12;
const WRITER: &str = "RUVECTOR_SNAPSHOT_TEST_WRITER";

/// Returns the records of a generation: it is the first value of every vector and a member of all metadata.
fn group(generation: u64) -> Vec<VectorEntry> {
    (0..RECORDS)
        .map(|number| {
            let mut vector = vec![number as f32 * 0.25; DIMENSIONS];
            vector[0] = generation as f32;
            let metadata = json_object(serde_json::json!({ "generation": generation, "n": number }));
            VectorEntry { id: Some(format!("group/{number:04}")), vector, metadata }
        })
        .collect()
}

/// Returns the generation of all records in a database. Panics if there are two.
#[track_caller]
fn generation_of(db: &VectorDB) -> u64 {
    let contents = contents(db);
    assert_eq!(contents.len(), RECORDS);
    let mut generations: Vec<u64> = contents
        .values()
        .flat_map(|(vector, metadata)| {
            let member = metadata.as_ref().unwrap()["generation"].as_u64().unwrap();
            [f32::from_bits(vector[0]) as u64, member]
        })
        .collect();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), 1, "the snapshot mixes commits: generations {generations:?}");
    generations[0]
}

/// Verifies and restores a snapshot, and returns the generation of its records.
async fn generation_in(manager: &SnapshotManager, snapshot: &Snapshot) -> u64 {
    assert_eq!(snapshot.vector_count, RECORDS);
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    generation_of(&manager.restore_snapshot(&snapshot.id).await.unwrap())
}

/// The process that holds the database open and commits without a pause until its standard input ends. It prints each
/// commit after it has returned. Not a test: [`Writer`] starts it.
#[test]
#[ignore = "a process that the other tests start"]
fn writer_process() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    std::thread::spawn(move || {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        end.store(true, Ordering::SeqCst);
    });
    let db = VectorDB::new(options(PathBuf::from(path), DIMENSIONS)).unwrap();
    let mut out = std::io::stdout().lock();
    for generation in 1.. {
        db.insert_batch(group(generation)).unwrap();
        let printed = writeln!(out, "committed {generation}").and_then(|()| out.flush());
        if printed.is_err() || ended.load(Ordering::SeqCst) {
            break;
        }
    }
}

/// A running [`writer_process`], killed when this is dropped.
struct Writer {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--ignored", "--nocapture"])
            .env(WRITER, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Returns the next commit that the writer printed. It prints all of them, so this one may not be the newest.
    fn next_commit(&mut self) -> u64 {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the writer ended");
            if let Some(generation) = line.strip_prefix("committed ") {
                return generation.trim().parse().unwrap();
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_snapshot_holds_one_commit_while_another_process_writes() {
    let dir = TestDir::new();
    let path = dir.path("live.db");
    let manager = dir.manager();
    let mut writer = Writer::start(&path);
    writer.next_commit();
    assert!(redb::Database::open(&path).is_err(), "the writer does not hold the lock of redb");
    let mut taken = Vec::new();
    let mut last_transaction = 0;
    for number in 0..SNAPSHOTS {
        let committed = writer.next_commit();
        let snapshot =
            manager.create_snapshot_of_file(&path, &format!("live {number}"), &CreateOptions::default()).await;
        let snapshot = snapshot.unwrap_or_else(|error| panic!("snapshot {number}: {error:?}"));
        let transaction = snapshot.source.transaction_id.unwrap();
        assert!(transaction >= last_transaction);
        last_transaction = transaction;
        let generation = generation_in(&manager, &snapshot).await;
        assert!(generation >= committed, "commit {committed} had returned, and the snapshot holds {generation}");
        dir.assert_scratch_empty();
        taken.push(generation);
    }
    assert!(taken.is_sorted(), "{taken:?}");
    assert!(taken.last() > taken.first(), "the writer made no progress");
    assert_eq!(manager.list_snapshots().await.unwrap().len(), SNAPSHOTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_snapshot_holds_one_commit_while_another_thread_writes() {
    let dir = TestDir::new();
    let db = VectorDB::new(options(dir.path("live.db"), DIMENSIONS)).unwrap();
    let manager = dir.manager();
    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    db.insert_batch(group(0)).unwrap();
    let mut taken = Vec::new();
    // Ends the writer when the test ends, also if it panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|threads| {
        let stopper = Stop(&stop);
        threads.spawn(|| {
            for generation in 1.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                db.insert_batch(group(generation)).unwrap();
                committed.store(generation, Ordering::SeqCst);
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for number in 0..SNAPSHOTS {
                    let before = committed.load(Ordering::SeqCst);
                    let snapshot = manager.create_snapshot(&db, &format!("live {number}")).await.unwrap();
                    let generation = generation_in(&manager, &snapshot).await;
                    assert!(generation >= before, "commit {before} had returned, and the snapshot holds {generation}");
                    dir.assert_scratch_empty();
                    taken.push(generation);
                }
            });
        });
        drop(stopper);
    });
    assert!(taken.is_sorted() && taken.last() > taken.first(), "{taken:?}");
}

#[tokio::test]
async fn a_snapshot_of_an_idle_database_needs_no_scratch_directory() {
    let dir = TestDir::new();
    let db = VectorDB::new(options(dir.path("idle.db"), DIMENSIONS)).unwrap();
    db.insert_batch(group(3)).unwrap();
    std::fs::remove_dir(dir.scratch()).unwrap();
    let manager = dir.manager();
    let snapshot = manager.create_snapshot(&db, "idle").await.unwrap();
    assert_eq!(generation_in(&manager, &snapshot).await, 3);
}

#[test]
fn a_mirror_fails_and_names_the_scratch_directory_if_that_is_missing() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    drop(make_database(&path, 10, 4, 1));
    let missing = dir.path("no/such/scratch");
    let mirror = |scratch: PathBuf| FileOptions::default().scratch_dir(scratch).mirror(Mirror::AtOnce);
    let error = FileReader::open(&path, &mirror(missing.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");

    let mut source = FileReader::open(&path, &mirror(dir.scratch())).unwrap();
    let mut records = 0;
    while source.next_record().unwrap().is_some() {
        records += 1;
    }
    assert_eq!(records, 10);
    dir.assert_scratch_empty();
}

const MIRRORED: &str = "RUVECTOR_SNAPSHOT_TEST_MIRRORED";

/// The process that copies a database in a directory and prints how that ended. Not a test: [`mirrored`] starts it.
#[test]
#[ignore = "a process that the other tests start"]
fn mirroring_process() {
    let Some(dir) = std::env::var_os(MIRRORED).map(PathBuf::from) else { return };
    let options = FileOptions::default().scratch_dir(dir.join("scratch")).mirror(Mirror::AtOnce);
    match FileReader::open(&dir.join("a.db"), &options) {
        Ok(_) => println!("mirrored"),
        Err(error) => println!("ended: {:?}: {error}", error.kind()),
    }
}

/// Runs [`mirroring_process`] after a shell has run `setup`, and returns what it printed.
#[track_caller]
fn mirrored(dir: &TestDir, setup: &str) -> String {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{setup} && exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    shell.args(["--exact", "mirroring_process", "--ignored", "--nocapture"]);
    let output = shell.env(MIRRORED, dir.path("")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    dir.assert_scratch_empty();
    printed
}

/// As in the program, SIGXFSZ does not end the process.
#[test]
fn a_mirror_that_reaches_the_largest_size_of_a_file_names_the_limit() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 10, 4, 1));
    for blocks in [0, 1, 64] {
        let printed = mirrored(&dir, &format!("trap '' XFSZ && ulimit -f {blocks}"));
        for text in ["ended: StorageFull: ", "/scratch", "`ulimit -f`, RLIMIT_FSIZE", "raise the limit"] {
            assert!(printed.contains(text), "{text:?} is not in {printed:?}");
        }
    }
}

/// The system refuses to create a file that others than its owner could read, with EACCES, whatever the umask is.
#[cfg(target_os = "linux")]
#[test]
fn a_mirror_is_for_its_owner_only_from_its_creation() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 10, 4, 1));
    let setup = format!("export LD_PRELOAD='{}' REFUSE_PUBLIC_FILES=13", test_fixtures::refusals().display());
    let printed = mirrored(&dir, &setup);
    assert!(printed.contains("mirrored"), "{printed}");
}

#[tokio::test]
async fn a_database_whose_writer_was_killed_can_be_captured_and_restored() {
    let dir = TestDir::new();
    let path = dir.path("killed.db");
    let mut writer = Writer::start(&path);
    let committed = (0..5).map(|_| writer.next_commit()).last().unwrap();
    drop(writer);
    let manager = dir.manager();
    let before = std::fs::read(&path).unwrap();
    let snapshot = manager.create_snapshot_of_file(&path, "killed", &CreateOptions::default()).await.unwrap();
    assert!(generation_in(&manager, &snapshot).await >= committed);
    assert!(std::fs::read(&path).unwrap() == before, "the snapshot changed the database file");
    assert_eq!(names(&dir.path("restored")), Vec::<String>::new());
    // The restored file opens normally, although the original needs a repair.
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(generation_of(&VectorDB::new(options(dir.restored(), DIMENSIONS)).unwrap()) >= committed);
}
