//! Increments of a database that changes through its own interface: they store the changes and restore the complete
//! state.

use std::time::Duration;

use redb::ReadableTable as _;
use ruvector_core::VectorEntry;
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager, SnapshotType};
use test_fixtures::{
    TestDir, VECTORS, assert_same_rows, create_full, entry, json_object, make_database, make_large_database,
    records_of_file,
};

async fn increment(manager: &SnapshotManager, dir: &TestDir, base_id: &str) -> ruvector_snapshot::Snapshot {
    let options = CreateOptions::default().base_id(base_id);
    manager.create_snapshot_of_file(dir.path("a.db"), "increment", &options).await.unwrap()
}

async fn assert_restores(manager: &SnapshotManager, dir: &TestDir, id: &str) {
    manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&dir.restored()) == records_of_file(&dir.path("a.db")), "{id}");
    std::fs::remove_file(dir.restored()).unwrap();
}

/// Far longer than the operations take. Only a deadlock reaches it.
const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn reading_a_chain_and_uploading_do_not_deadlock() {
    let dir = TestDir::new();
    // Large enough for several parts of an upload and several reads of a file.
    make_large_database(&dir.path("a.db"), 25_000, 256);
    for max_concurrent_io in [1, 4] {
        let manager = SnapshotManager::new(SnapshotConfig { max_concurrent_io, ..dir.config() }).unwrap();
        let work = async {
            let options = CreateOptions::default();
            let full = manager.create_snapshot_of_file(dir.path("a.db"), "full", &options).await.unwrap();
            change_every_vector(&dir.path("a.db"));
            let next = increment(&manager, &dir, &full.id).await;
            assert_eq!(next.changes.unwrap().changed, 25_000);
            let compacted = manager.compact_snapshot(&next.id, None).await.unwrap();
            assert_eq!(compacted.checksum, next.checksum);
            assert!(manager.verify_snapshot(&next.id).await.unwrap());
            manager.restore_snapshot_to(&next.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
            assert_same_rows(&dir.restored(), &dir.path("a.db"));
            std::fs::remove_file(dir.restored()).unwrap();
        };
        tokio::time::timeout(DEADLOCK_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| panic!("deadlock at {max_concurrent_io}"));
    }
}

/// Changes the lowest bit of each vector's first value.
fn change_every_vector(path: &std::path::Path) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut vectors = transaction.open_table(VECTORS).unwrap();
    let owned = |(id, vector): (redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &[u8]>)| {
        (id.value().to_owned(), vector.value().to_owned())
    };
    let rows: Vec<_> = vectors.iter().unwrap().map(|row| owned(row.unwrap())).collect();
    for (id, mut vector) in rows {
        let last = vector.len() - 1024;
        vector[last] ^= 1;
        vectors.insert(id.as_str(), vector.as_slice()).unwrap();
    }
    drop(vectors);
    transaction.commit().unwrap();
}

#[tokio::test]
async fn each_snapshot_of_a_chain_restores_the_state_at_its_creation() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let db = make_database(&dir.path("a.db"), 5_000, 16, 1);
    let full = manager.create_snapshot_of_file(dir.path("a.db"), "full", &CreateOptions::default()).await.unwrap();
    let none = increment(&manager, &dir, &full.id).await;
    assert_eq!(none.checksum, full.checksum);
    assert_eq!(none.vector_count, 5_000);
    assert!(none.size_bytes < 20_000, "{}", none.size_bytes);
    assert_restores(&manager, &dir, &none.id).await;

    let mut base = none;
    for round in 0..5usize {
        for at in (round..5_000).step_by(200) {
            db.insert(entry(format!("id-{at:06}"), at, 16, 100 + round as u64)).unwrap();
        }
        for at in (round..5_000).step_by(500) {
            db.delete(&format!("id-{:06}", at + 7)).unwrap();
            db.insert(entry(format!("new-{round}-{at:06}"), at, 16, round as u64)).unwrap();
        }
        let mut kept: VectorEntry = db.get("id-004999").unwrap().unwrap();
        kept.id = Some("id-004999".to_owned());
        kept.metadata = json_object(serde_json::json!({ "round": round }));
        db.insert(kept).unwrap();
        let next = increment(&manager, &dir, &base.id).await;
        assert_eq!(next.snapshot_type, SnapshotType::Incremental { base_id: base.id.clone() });
        assert_eq!(next.vector_count, db.len().unwrap());
        assert!(next.size_bytes * 5 < full.size_bytes, "{} of {}", next.size_bytes, full.size_bytes);
        assert_restores(&manager, &dir, &next.id).await;
        let full = create_full(&manager, &dir.path("a.db"), "full").await.unwrap();
        assert_eq!(full.checksum, next.checksum);
        assert!(manager.verify_snapshot(&next.id).await.unwrap());
        base = next;
    }
    let compacted = manager.compact_snapshot(&base.id, None).await.unwrap();
    assert_eq!((&compacted.checksum, &compacted.snapshot_type), (&base.checksum, &SnapshotType::Full));
    assert_eq!(compacted.created_at, base.created_at);
    assert_restores(&manager, &dir, &compacted.id).await;
    let next = increment(&manager, &dir, &compacted.id).await;
    assert!(next.size_bytes < 40_000, "{}", next.size_bytes);
    assert_restores(&manager, &dir, &next.id).await;
}
