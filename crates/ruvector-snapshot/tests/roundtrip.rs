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

/// Every f64 of the metadata: a text of it that is read as its neighbour would change it and the checksum.
#[tokio::test]
async fn numbers_in_metadata_keep_every_bit() {
    let mut random = 1u64;
    let any = std::iter::repeat_with(|| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(random ^ (random >> 32))
    });
    let any = any.filter(|number| number.is_finite()).take(600);
    let small = (0..600u32).map(|at| f64::from(at.wrapping_mul(2_654_435_761)) / 98_765_432.1);
    let known = [43.422_624_839_375_956, 0.1, -0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1e23, 9_007_199_254_740_993.0];
    let numbers: Vec<f64> = known.into_iter().chain(any).chain(small).collect();
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("a.db"), 0);
    for (at, number) in numbers.iter().enumerate() {
        let metadata = [("x".to_owned(), serde_json::json!(number)), ("in".to_owned(), serde_json::json!([[number]]))];
        let metadata = Some(metadata.into_iter().collect());
        db.insert(VectorEntry { id: Some(format!("{at:05}")), vector: vec![1.0; 8], metadata }).unwrap();
    }
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let snapshot = manager.create_snapshot(&db, "numbers").await.unwrap();
    let restored = manager.restore_snapshot(&snapshot.id).await.unwrap();
    for (at, number) in numbers.iter().enumerate() {
        let metadata = restored.get(&format!("{at:05}")).unwrap().unwrap().metadata.unwrap();
        for found in [&metadata["x"], &metadata["in"][0][0]] {
            assert_eq!(found.as_f64().unwrap().to_bits(), number.to_bits(), "{number:?} came back as {found}");
        }
    }
    let again = manager.create_snapshot(&restored, "again").await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
}
