//! The main job through the public API: create, list, verify, restore, delete.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, SnapshotConfig, SnapshotManager};

fn database(path: &std::path::Path, rows: usize) -> VectorDB {
    let options = DbOptions {
        dimensions: 8,
        storage_path: path.to_string_lossy().into_owned(),
        hnsw_config: None,
        ..DbOptions::default()
    };
    let db = VectorDB::new(options).unwrap();
    let entries: Vec<_> = (0..rows)
        .map(|at| VectorEntry {
            id: Some(format!("id/{at:05}…é")),
            vector: (0..8).map(|d| (at * 8 + d) as f32 * 0.37 - 5.0).collect(),
            metadata: (at % 3 != 0).then(|| {
                [
                    ("n".to_owned(), serde_json::json!(at)),
                    ("x".to_owned(), serde_json::json!({"b": [1.5, null], "a": "ü\n"})),
                ]
                .into_iter()
                .collect()
            }),
        })
        .collect();
    db.insert_batch(&entries).unwrap();
    db
}

fn assert_same(a: &VectorDB, b: &VectorDB) {
    let (mut ids, mut others) = (a.keys().unwrap(), b.keys().unwrap());
    ids.sort();
    others.sort();
    assert_eq!(ids, others);
    for id in ids {
        let (x, y) = (a.get(&id).unwrap().unwrap(), b.get(&id).unwrap().unwrap());
        let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&x.vector), bits(&y.vector));
        assert_eq!(x.metadata, y.metadata);
    }
}

#[tokio::test]
async fn what_goes_in_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), 3000);
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let snapshot = manager.create_snapshot(&db, "first / ünï").await.unwrap();
    assert_eq!(snapshot.vector_count, 3000);
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert_same(&db, &manager.restore_snapshot(&snapshot.id).await.unwrap());
    let place = dir.path().join("b.db");
    manager.restore_snapshot_to(&snapshot.id, &place, &RestoreOptions::default()).await.unwrap();
    let again = manager.create_snapshot_of_file(&place, "again", &CreateOptions::default()).await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
    let error = manager.restore_snapshot_to(&snapshot.id, &place, &RestoreOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let options = DbOptions { storage_path: place.to_string_lossy().into_owned(), ..DbOptions::default() };
    assert_same(&db, &VectorDB::new(options).unwrap());
    let ids: Vec<_> = manager.list_snapshots().await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(ids, [again.id.clone(), snapshot.id.clone()]);
    assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 1);
    manager.delete_snapshot(&again.id).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0);
}
