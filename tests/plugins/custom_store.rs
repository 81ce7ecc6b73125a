//! The store of the example `custom_store`, which logs every change: it keeps the contract of a store and of its log.

#[allow(dead_code, reason = "its main runs as a program")]
#[path = "../../examples/custom_store.rs"]
mod example;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use example::Audited;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open, testing::conformance};
use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotManager};

fn memory() -> Arc<dyn SnapshotStore> {
    open(&Location::Memory, &StoreConfig::default()).unwrap()
}

/// Returns the lines of a log without their timestamps.
fn lines(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logging_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Audited::new(memory(), &dir.path().join("log")).unwrap());
    conformance::run_all(store, "suite").await.unwrap();
}

#[tokio::test]
async fn every_change_is_logged_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let store = Audited::new(memory(), &log).unwrap();
    store.create("a", "x".into()).await.unwrap();
    store.create("a", "y".into()).await.unwrap_err();
    store.get("a", 1).await.unwrap();
    store.upload("b", None).await.unwrap().finish().await.unwrap();
    store.upload("c", None).await.unwrap().abort().await.unwrap();
    drop(store.upload("d", None).await.unwrap());
    store.delete("a").await.unwrap();
    store.delete("a\n2026-01-01 done delete b").await.unwrap_err();
    let expected = [
        "begin create a",
        "done create a",
        "begin create a",
        "failed create a",
        "begin upload b",
        "done upload b",
        "begin upload c",
        "done abort c",
        "begin upload d",
        "begin delete a",
        "done delete a",
    ];
    assert_eq!(lines(&log), expected);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_changed_if_the_log_cannot_be_written() {
    let inner = memory();
    inner.create("a", "x".into()).await.unwrap();
    let store = Audited::new(inner.clone(), Path::new("/dev/full")).unwrap();
    for refused in
        [store.delete("a").await, store.create("b", "y".into()).await, store.upload("c", None).await.map(drop)]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.to_string(), "/dev/full: cannot write the log, so nothing was changed");
    }
    assert_eq!(inner.get("a", 1).await.unwrap(), "x");
    assert_eq!(inner.head("b").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn metadata_json_is_created_last_and_deleted_before_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let store = Arc::new(Audited::new(memory(), &log).unwrap());
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store).unwrap();
    let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
        dimensions: 2,
        storage_path: dir.path().join("a.db").to_string_lossy().into_owned(),
        ..Default::default()
    });
    let snapshot = manager.create_snapshot(&db.unwrap(), "one").await.unwrap();
    let commit = format!("create snapshot-{}/metadata.json", snapshot.id);
    assert_eq!(lines(&log).last(), Some(&format!("done {commit}")));
    let created = lines(&log).len();
    manager.delete_snapshot(&snapshot.id).await.unwrap();
    // The deletion marker comes first, then metadata.json, then the other files.
    let deletion: Vec<_> = lines(&log)[created..].iter().filter(|line| line.starts_with("begin")).cloned().collect();
    assert!(
        deletion[0].starts_with(&format!("begin {}", commit.replace("metadata.json", "deleting-"))),
        "{deletion:?}"
    );
    assert_eq!(deletion[1], format!("begin {}", commit.replace("create", "delete")));
    assert!(deletion.iter().skip(2).all(|line| line.starts_with("begin delete snapshot-")), "{deletion:?}");
}

#[test]
fn the_example_passes_the_conformance_suite_and_restores() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-custom-store")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for words in ["the store keeps its contract\n", "verified: true\nrestored 1 vector\n", "done   delete snapshot-"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}
