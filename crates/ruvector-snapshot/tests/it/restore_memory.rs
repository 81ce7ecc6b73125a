//! A restore takes no more memory than its plan says.
//!
//! Each restore runs in a process of its own, which reports the most memory that it has had.

use std::path::Path;

use ruvector_core::types::{DbOptions, HnswConfig};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{CreateOptions, RestoreDestination, RestoreOptions, SnapshotConfig, SnapshotManager};
use test_fixtures::{METADATA, TestDir, create_full, entry, make_database, options};

use crate::common::measured_process::{peak_bytes, report_peak, started_for};

/// Settings that do not depend on the machine.
fn manager(directory: &Path) -> SnapshotManager {
    let config = SnapshotConfig { snapshot_dir: directory.join("snapshots"), workers: 4, ..SnapshotConfig::default() };
    SnapshotManager::new(config).unwrap()
}

/// One restore, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started as a child process by another test"]
async fn measured_process() {
    let Some((directory, verb)) = started_for() else { return };
    let directory = directory.as_path();
    let manager = manager(directory);
    let id = manager.resolve("latest").await.unwrap();
    match verb.as_str() {
        "nothing" => {}
        "file" => {
            let restored = directory.join("restored.db");
            manager.restore_snapshot_to(&id, &restored, &RestoreOptions::default()).await.unwrap();
            std::fs::remove_file(restored).unwrap();
        }
        "memory" => drop(manager.restore_snapshot(&id).await.unwrap()),
        other => panic!("{other}"),
    }
    report_peak();
}

/// Asserts that a restore of the latest snapshot takes no more than its plan says.
async fn assert_within_plan(dir: &TestDir, verb: &str) {
    let manager = manager(&dir.path(""));
    let id = manager.resolve("latest").await.unwrap();
    let destination = match verb {
        "memory" => RestoreDestination::Memory,
        _ => dir.restored().into(),
    };
    let plan = manager.plan_restore(&id, destination, &RestoreOptions::default()).await.unwrap();
    let planned = plan.memory_bytes.unwrap();
    let taken = peak_bytes("restore_memory", &dir.path(""), verb).saturating_sub(peak_bytes(
        "restore_memory",
        &dir.path(""),
        "nothing",
    ));
    println!("{verb}: {} of {} MiB", taken >> 20, planned >> 20);
    assert!(taken as u64 <= planned, "a restore to {verb} took {taken} bytes, and its plan says {planned}");
}

async fn increment(manager: &SnapshotManager, db: &Path) {
    let base = manager.resolve("latest").await.unwrap();
    let options = CreateOptions::default().base_id(base);
    manager.create_snapshot_of_file(db, "step", &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_many_vectors_and_of_a_chain_takes_no_more_memory_than_planned() {
    let (dir, rows) = (TestDir::new(), 10_000);
    let (db, manager) = (dir.path("a.db"), manager(&dir.path("")));
    drop(make_database(&db, rows, 256, 1));
    create_full(&manager, &db, "full").await.unwrap();
    assert_within_plan(&dir, "file").await;
    for round in 2..4 {
        // Every other record has another vector.
        let database = VectorDB::new(options(&db, 256)).unwrap();
        let entries: Vec<_> = (0..rows).step_by(2).map(|row| entry(format!("id-{row:06}"), row, 256, round)).collect();
        database.insert_batch(&entries).unwrap();
        drop(database);
        increment(&manager, &db).await;
    }
    assert_within_plan(&dir, "file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_a_large_record_takes_no_more_memory_than_planned() {
    let dir = TestDir::new();
    let (db, manager) = (dir.path("a.db"), manager(&dir.path("")));
    drop(make_database(&db, 300, 8, 1));
    let mut state = 1u64;
    let noise: String = (0..24 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 60) as u8)
        })
        .collect();
    for step in ["1", "2"] {
        let database = redb::Database::create(&db).unwrap();
        let write = database.begin_write().unwrap();
        let text = format!("{{\"text\":\"{noise}{step}\"}}");
        write.open_table(METADATA).unwrap().insert("id-000002", &*text).unwrap();
        write.commit().unwrap();
        drop(database);
        match step {
            "1" => drop(create_full(&manager, &db, "full").await.unwrap()),
            _ => increment(&manager, &db).await,
        }
        assert_within_plan(&dir, "file").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_memory_takes_no_more_memory_than_planned() {
    for (rows, dimensions) in [(4000, 16), (2000, 256)] {
        let dir = TestDir::new();
        let (db, manager) = (dir.path("a.db"), manager(&dir.path("")));
        let options = DbOptions { hnsw_config: Some(HnswConfig::default()), ..options(&db, dimensions) };
        let database = VectorDB::new(options).unwrap();
        let entries: Vec<VectorEntry> =
            (0..rows).map(|row| entry(format!("id-{row:06}"), row, dimensions, 1)).collect();
        database.insert_batch(&entries).unwrap();
        drop(database);
        create_full(&manager, &db, "full").await.unwrap();
        assert_within_plan(&dir, "memory").await;
    }
}
