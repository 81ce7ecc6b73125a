//! Point in time: snapshots of a database that a writer, in another process or in this one, never stops writing to. Every
//! commit sets all records of a group to one generation, so a snapshot that mixes moments holds two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Place, contents, map, names, options};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::SnapshotSource as _;
use ruvector_snapshot::source::file::{FileOptions, FileSource, Mirror};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, Snapshot, SnapshotManager};

const DIMENSIONS: usize = 64;
const RECORDS: usize = 250;
const SNAPSHOTS: usize = 12;
const WRITER: &str = "RUVECTOR_SNAPSHOT_TEST_WRITER";

/// The group at one generation: every vector begins with it, and all metadata names it.
fn group(generation: u64) -> Vec<VectorEntry> {
    (0..RECORDS)
        .map(|at| {
            let mut vector = vec![at as f32 * 0.25; DIMENSIONS];
            vector[0] = generation as f32;
            let metadata = map(serde_json::json!({ "generation": generation, "n": at }));
            VectorEntry { id: Some(format!("group/{at:04}")), vector, metadata }
        })
        .collect()
}

/// The one generation of everything in a database; panics where there are two.
#[track_caller]
fn generation_of(db: &VectorDB) -> u64 {
    let contents = contents(db);
    assert_eq!(contents.len(), RECORDS);
    let mut generations: Vec<u64> = contents
        .values()
        .flat_map(|(vector, metadata)| {
            let named = metadata.as_ref().unwrap()["generation"].as_u64().unwrap();
            [f32::from_bits(vector[0]) as u64, named]
        })
        .collect();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), 1, "a snapshot mixes moments: generations {generations:?}");
    generations[0]
}

/// Verifies a snapshot, restores it, and returns the one generation it holds.
async fn generation_in(manager: &SnapshotManager, snapshot: &Snapshot) -> u64 {
    assert_eq!(snapshot.vector_count, RECORDS);
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    generation_of(&manager.restore_snapshot(&snapshot.id).await.unwrap())
}

/// Not a test of its own: the process that holds the database open and commits without rest, until its standard input
/// ends. It tells every commit, once it has returned.
#[test]
#[ignore = "started by the tests of another process"]
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
        let told = writeln!(out, "committed {generation}").and_then(|()| out.flush());
        if told.is_err() || ended.load(Ordering::SeqCst) {
            break;
        }
    }
}

/// A running [`writer_process`], gone when this is.
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

    /// The next commit that the writer tells of. It tells of every one, so some of them lie in the past.
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
async fn a_database_that_another_process_writes_without_rest() {
    let place = Place::new();
    let path = place.path("live.db");
    let manager = place.manager();
    let mut writer = Writer::start(&path);
    writer.next_commit();
    assert!(redb::Database::open(&path).is_err(), "the writer is to hold redb's lock");
    let mut taken = Vec::new();
    let mut last_transaction = 0;
    for at in 0..SNAPSHOTS {
        let committed = writer.next_commit();
        let snapshot = manager.create_snapshot_of_file(&path, &format!("live {at}"), &CreateOptions::default()).await;
        let snapshot = snapshot.unwrap_or_else(|error| panic!("snapshot {at}: {error:?}"));
        let transaction = snapshot.source.transaction_id.unwrap();
        assert!(transaction >= last_transaction);
        last_transaction = transaction;
        let generation = generation_in(&manager, &snapshot).await;
        assert!(generation >= committed, "commit {committed} had returned, and {generation} was captured");
        place.assert_scratch_empty();
        taken.push(generation);
    }
    assert!(taken.is_sorted(), "{taken:?}");
    assert!(taken.last() > taken.first(), "the writer stood still");
    assert_eq!(manager.list_snapshots().await.unwrap().len(), SNAPSHOTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_thread_writes_without_rest() {
    let place = Place::new();
    let db = VectorDB::new(options(place.path("live.db"), DIMENSIONS)).unwrap();
    let manager = place.manager();
    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    db.insert_batch(group(0)).unwrap();
    let mut taken = Vec::new();
    // The writer ends with the test, whichever way that ends.
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
                for at in 0..SNAPSHOTS {
                    let before = committed.load(Ordering::SeqCst);
                    let snapshot = manager.create_snapshot(&db, &format!("live {at}")).await.unwrap();
                    let generation = generation_in(&manager, &snapshot).await;
                    assert!(generation >= before, "commit {before} had returned, and {generation} was captured");
                    place.assert_scratch_empty();
                    taken.push(generation);
                }
            });
        });
        drop(stopper);
    });
    assert!(taken.is_sorted() && taken.last() > taken.first(), "{taken:?}");
}

#[tokio::test]
async fn a_snapshot_of_a_database_that_rests_needs_no_scratch_directory() {
    let place = Place::new();
    let db = VectorDB::new(options(place.path("resting.db"), DIMENSIONS)).unwrap();
    db.insert_batch(group(3)).unwrap();
    std::fs::remove_dir(place.scratch()).unwrap();
    let manager = place.manager();
    let snapshot = manager.create_snapshot(&db, "resting").await.unwrap();
    assert_eq!(generation_in(&manager, &snapshot).await, 3);
}

#[test]
fn a_mirror_without_a_scratch_directory_is_refused_by_its_name() {
    let place = Place::new();
    let path = place.path("a.db");
    drop(common::make_database(&path, 10, 4, 1));
    let missing = place.path("no/such/scratch");
    let mirror = |scratch: PathBuf| FileOptions { scratch_dir: Some(scratch), mirror: Mirror::AtOnce };
    let error = FileSource::open(&path, &mirror(missing.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");

    let mut source = FileSource::open(&path, &mirror(place.scratch())).unwrap();
    let mut records = 0;
    while source.next_record().unwrap().is_some() {
        records += 1;
    }
    assert_eq!(records, 10);
    place.assert_scratch_empty();
}

#[tokio::test]
async fn what_a_writer_process_left_open_is_captured_after_it_was_killed() {
    let place = Place::new();
    let path = place.path("killed.db");
    let mut writer = Writer::start(&path);
    let committed = (0..5).map(|_| writer.next_commit()).last().unwrap();
    drop(writer);
    let manager = place.manager();
    let before = std::fs::read(&path).unwrap();
    let snapshot = manager.create_snapshot_of_file(&path, "killed", &CreateOptions::default()).await.unwrap();
    assert!(generation_in(&manager, &snapshot).await >= committed);
    assert!(std::fs::read(&path).unwrap() == before, "a snapshot changed the database file");
    assert_eq!(names(&place.path("restored")), Vec::<String>::new());
    // Restored, it opens as a database, whatever state the file was left in.
    manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(generation_of(&VectorDB::new(options(place.restored(), DIMENSIONS)).unwrap()) >= committed);
}
