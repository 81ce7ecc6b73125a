//! The main path through the public API: create, list, verify, restore, delete.

use std::path::Path;

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, GroupBy, PrunePolicy, RestoreOptions, SnapshotConfig, SnapshotManager,
};
use test_fixtures::{TestDir, contents, json_object};

/// Creates a database with the default quantization, and ids that are neither ASCII nor file names.
fn make_database(path: &Path, rows: usize) -> VectorDB {
    let options = DbOptions {
        dimensions: 8,
        storage_path: path.to_string_lossy().into_owned(),
        hnsw_config: None,
        ..DbOptions::default()
    };
    let db = VectorDB::new(options).unwrap();
    let metadata =
        |at: usize| json_object(serde_json::json!({ "n": at, "x": { "b": [1.5, null], "a": "ü\n" } })).unwrap();
    let entries: Vec<_> = (0..rows)
        .map(|at| VectorEntry {
            id: Some(format!("id/{at:05}…é")),
            vector: (0..8).map(|d| (at * 8 + d) as f32 * 0.37 - 5.0).collect(),
            metadata: (at % 3 != 0).then(|| metadata(at)),
        })
        .collect();
    db.insert_batch(&entries).unwrap();
    db
}

/// Every setting but the directory of the snapshots has its default.
fn manager_with_defaults(dir: &TestDir) -> SnapshotManager {
    SnapshotManager::new(SnapshotConfig { snapshot_dir: dir.snapshots(), ..SnapshotConfig::default() }).unwrap()
}

#[tokio::test]
async fn a_snapshot_restores_into_memory_and_into_a_file() {
    let dir = TestDir::new();
    let db = make_database(&dir.path("a.db"), 3000);
    let manager = manager_with_defaults(&dir);
    let snapshot = manager.create_snapshot(&db, "first / ünï").await.unwrap();
    assert_eq!(snapshot.vector_count, 3000);
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));

    let restored = dir.restored();
    manager.restore_snapshot_to(&snapshot.id, &restored, &RestoreOptions::default()).await.unwrap();
    let again = manager.create_snapshot_of_file(&restored, "again", &CreateOptions::default()).await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
    let error = manager.restore_snapshot_to(&snapshot.id, &restored, &RestoreOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let options = DbOptions { storage_path: restored.to_string_lossy().into_owned(), ..DbOptions::default() };
    assert!(contents(&VectorDB::new(options).unwrap()) == contents(&db));

    let ids: Vec<_> = manager.list_snapshots().await.unwrap().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(ids, [again.id.clone(), snapshot.id.clone()]);
    // The restored file is another source, of which one snapshot is kept too.
    assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 0);
    let together = PrunePolicy::default().keep_last(1).group_by(GroupBy::None);
    // It would be the last of its source.
    assert_eq!(manager.plan_prune(&together).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let plan = manager.plan_prune(&together.allow_unprotected(true)).await.unwrap();
    assert_eq!(manager.apply_prune(&plan).await.unwrap().deleted, [snapshot.id]);
    manager.delete_snapshot(&again.id).await.unwrap();
    dir.assert_no_snapshots();
}

/// A number whose text is parsed as a neighbouring `f64` would change both the metadata and the checksum.
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
    let dir = TestDir::new();
    let db = make_database(&dir.path("a.db"), 0);
    for (at, number) in numbers.iter().enumerate() {
        let metadata = json_object(serde_json::json!({ "x": number, "in": [[number]] }));
        db.insert(VectorEntry { id: Some(format!("{at:05}")), vector: vec![1.0; 8], metadata }).unwrap();
    }
    let manager = manager_with_defaults(&dir);
    let snapshot = manager.create_snapshot(&db, "numbers").await.unwrap();
    let restored = manager.restore_snapshot(&snapshot.id).await.unwrap();
    for (at, number) in numbers.iter().enumerate() {
        let metadata = restored.get(&format!("{at:05}")).unwrap().unwrap().metadata.unwrap();
        for found in [&metadata["x"], &metadata["in"][0][0]] {
            assert_eq!(found.as_f64().unwrap().to_bits(), number.to_bits(), "{number:?} was restored as {found}");
        }
    }
    let again = manager.create_snapshot(&restored, "again").await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
}
