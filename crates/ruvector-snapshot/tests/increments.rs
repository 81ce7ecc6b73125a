//! Increments: what changed and nothing else, on any base, and the whole state back from a chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use ruvector_core::VectorEntry;
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotManager, SnapshotType};

async fn increment(manager: &SnapshotManager, place: &Place, base_id: &str) -> ruvector_snapshot::Snapshot {
    let options = CreateOptions { base_id: Some(base_id.to_owned()), ..CreateOptions::default() };
    manager.create_snapshot_of_file(place.path("a.db"), "increment", &options).await.unwrap()
}

async fn assert_restores(manager: &SnapshotManager, place: &Place, id: &str) {
    manager.restore_snapshot_to(id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&place.restored()) == records_of_file(&place.path("a.db")), "{id}");
    std::fs::remove_file(place.restored()).unwrap();
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
