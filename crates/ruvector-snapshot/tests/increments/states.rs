//! What changed and nothing else, and the whole state back from a chain, through the database's own interface.

use std::time::Duration;

use redb::ReadableTable as _;
use ruvector_core::VectorEntry;
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager, SnapshotType};

use crate::common::large::{assert_same_rows, make_vectors};
use crate::common::*;

async fn increment(manager: &SnapshotManager, place: &Place, base_id: &str) -> ruvector_snapshot::Snapshot {
    let options = CreateOptions { base_id: Some(base_id.to_owned()), ..CreateOptions::default() };
    manager.create_snapshot_of_file(place.path("a.db"), "increment", &options).await.unwrap()
}

async fn assert_restores(manager: &SnapshotManager, place: &Place, id: &str) {
    manager.restore_snapshot_to(id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&place.restored()) == records_of_file(&place.path("a.db")), "{id}");
    std::fs::remove_file(place.restored()).unwrap();
}

/// Far more than any of it takes: what is looked for is that it never ends.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_reading_of_a_chain_and_an_upload_never_wait_for_each_other() {
    let place = Place::new();
    // Several parts of an upload, and several reads of a file.
    make_vectors(&place.path("a.db"), 25_000, 256);
    for max_concurrent_io in [1, 4] {
        let manager = SnapshotManager::new(SnapshotConfig { max_concurrent_io, ..place.config() }).unwrap();
        let work = async {
            let options = CreateOptions::default();
            let full = manager.create_snapshot_of_file(place.path("a.db"), "full", &options).await.unwrap();
            change_every_vector(&place.path("a.db"));
            let next = increment(&manager, &place, &full.id).await;
            assert_eq!(next.changes.unwrap().changed, 25_000);
            let compacted = manager.compact_snapshot(&next.id, None).await.unwrap();
            assert_eq!(compacted.checksum, next.checksum);
            assert!(manager.verify_snapshot(&next.id).await.unwrap());
            manager.restore_snapshot_to(&next.id, place.restored(), &RestoreOptions::default()).await.unwrap();
            assert_same_rows(&place.restored(), &place.path("a.db"));
            std::fs::remove_file(place.restored()).unwrap();
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("stuck at {max_concurrent_io}"));
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
async fn a_chain_restores_to_the_state_of_its_newest() {
    let place = Place::new();
    let manager = place.manager();
    let db = make_database(&place.path("a.db"), 5_000, 16, 1);
    let full = manager.create_snapshot_of_file(place.path("a.db"), "full", &CreateOptions::default()).await.unwrap();
    let none = increment(&manager, &place, &full.id).await;
    assert_eq!(none.checksum, full.checksum);
    assert_eq!(none.vector_count, 5_000);
    assert!(none.size_bytes < 20_000, "{}", none.size_bytes);
    assert_restores(&manager, &place, &none.id).await;

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
        kept.metadata = map(serde_json::json!({ "round": round }));
        db.insert(kept).unwrap();
        let next = increment(&manager, &place, &base.id).await;
        assert_eq!(next.snapshot_type, SnapshotType::Incremental { base_id: base.id.clone() });
        assert_eq!(next.vector_count, db.len().unwrap());
        assert!(next.size_bytes * 5 < full.size_bytes, "{} of {}", next.size_bytes, full.size_bytes);
        assert_restores(&manager, &place, &next.id).await;
        let whole =
            manager.create_snapshot_of_file(place.path("a.db"), "whole", &CreateOptions::default()).await.unwrap();
        assert_eq!(whole.checksum, next.checksum);
        assert!(manager.verify_snapshot(&next.id).await.unwrap());
        base = next;
    }
    let compacted = manager.compact_snapshot(&base.id, None).await.unwrap();
    assert_eq!((&compacted.checksum, &compacted.snapshot_type), (&base.checksum, &SnapshotType::Full));
    assert_eq!(compacted.created_at, base.created_at);
    assert_restores(&manager, &place, &compacted.id).await;
    let next = increment(&manager, &place, &compacted.id).await;
    assert!(next.size_bytes < 40_000, "{}", next.size_bytes);
    assert_restores(&manager, &place, &next.id).await;
}
