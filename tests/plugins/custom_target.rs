//! The target of the example `custom_target`, which writes files for numpy, and targets that fail.

#[allow(dead_code, reason = "its main runs as a program")]
#[path = "../../examples/custom_target.rs"]
mod example;

use std::fs;

use example::NumpyTarget;
use ruvector_snapshot::source::RestoreTarget;
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Record, RestoreOptions, Result, Snapshot, SnapshotError, SnapshotManager,
};
use test_fixtures::{TestDir, make_database, names, rows_of_file};

const ROWS: usize = 300;
const DIMENSIONS: usize = 3;
const HEADER_BYTES: usize = 128;

async fn with_snapshot(dir: &TestDir) -> (SnapshotManager, Snapshot) {
    drop(make_database(&dir.path("a.db"), ROWS, DIMENSIONS, 1));
    let manager = dir.manager();
    let snapshot = manager.create_snapshot_of_file(dir.path("a.db"), "a", &CreateOptions::default()).await.unwrap();
    (manager, snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_for_numpy_are_those_of_the_database() {
    let dir = TestDir::new();
    let (manager, snapshot) = with_snapshot(&dir).await;
    let destination = dir.path("restored/numpy");
    let mut target = NumpyTarget::new(&destination).unwrap();
    manager.restore_into(&snapshot.id, &mut target, &RestoreOptions::default()).await.unwrap();
    drop(target);
    assert_eq!(names(&dir.path("restored")), ["numpy"]);
    assert_eq!(names(&destination), ["ids.txt", "metadata.jsonl", "vectors.npy"]);

    let rows = rows_of_file(&dir.path("a.db"));
    let vectors = fs::read(destination.join("vectors.npy")).unwrap();
    let header = String::from_utf8_lossy(&vectors[10..HEADER_BYTES]);
    assert!(header.contains(&format!("'shape': ({ROWS}, {DIMENSIONS})")), "{header}");
    // The database has one byte for the length before each vector.
    let expected: Vec<u8> = rows.vectors.values().flat_map(|row| row[1..].to_vec()).collect();
    assert_eq!(vectors[HEADER_BYTES..], expected);
    let ids = fs::read_to_string(destination.join("ids.txt")).unwrap();
    let ids: Vec<String> = ids.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids, rows.vectors.into_keys().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_directory_is_not_replaced() {
    let dir = TestDir::new();
    let error = NumpyTarget::new(&dir.path("restored")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// A corrupt snapshot must not be completed: `finish` is called only after the content checksum was verified.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_corrupt_snapshot() {
    let dir = TestDir::new();
    let (manager, snapshot) = with_snapshot(&dir).await;
    let file = dir.snapshots().join(format!("snapshot-{}", snapshot.id)).join("vectors.bin.gz");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut target = NumpyTarget::new(&dir.path("restored/numpy")).unwrap();
    let error = manager.restore_into(&snapshot.id, &mut target, &RestoreOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    drop(target);
    dir.assert_nothing_restored();
}

/// Counts its calls, and fails in the call that is named.
#[derive(Default)]
struct Failing {
    at: &'static str,
    calls: Vec<&'static str>,
    records: usize,
}

impl Failing {
    fn call(&mut self, name: &'static str) -> Result<()> {
        if self.calls.last() != Some(&name) {
            self.calls.push(name);
        }
        match self.at == name {
            true => Err(SnapshotError::new(ErrorKind::StorageFull, format!("no space to {name}"))),
            false => Ok(()),
        }
    }
}

impl RestoreTarget for Failing {
    fn begin(&mut self, database: &DatabaseInfo) -> Result<()> {
        assert_eq!(database.dimensions, DIMENSIONS as u64);
        self.call("begin")
    }

    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        self.records += records.count();
        self.call("put")
    }

    fn finish(&mut self) -> Result<()> {
        self.call("finish")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_target_ends_the_restore() {
    let dir = TestDir::new();
    let (manager, snapshot) = with_snapshot(&dir).await;
    let all = ["begin", "put", "finish"];
    for (number, at) in all.into_iter().enumerate() {
        let mut target = Failing { at, ..Failing::default() };
        let error = manager.restore_into(&snapshot.id, &mut target, &RestoreOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        assert!(error.to_string().contains(&format!("no space to {at}")), "{error}");
        assert_eq!(target.calls, all[..=number]);
    }
    let mut target = Failing::default();
    manager.restore_into(&snapshot.id, &mut target, &RestoreOptions::default()).await.unwrap();
    assert_eq!((target.calls.as_slice(), target.records), (&all[..], ROWS));
}
