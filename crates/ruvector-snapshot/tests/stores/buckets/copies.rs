//! A snapshot is five objects: copied byte for byte to any other store, it is the same snapshot.

use ruvector_snapshot::SnapshotManager;
use test_fixtures::{TestDir, create_full, objects};

use super::fixture::{Kind, Opened, assert_restores, make_small};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_copied_between_any_two_stores_is_unchanged() {
    let dir = TestDir::new();
    let database = make_small(&dir, "a.db", 300);
    let mut pairs = 0;
    for from in Kind::ALL {
        let source = Opened::new(from, 4);
        let manager = SnapshotManager::with_store(dir.config(), source.store.clone()).unwrap();
        let made = create_full(&manager, &database, "copied").await.unwrap();
        let files = objects(source.store.as_ref()).await;
        assert_eq!(files.len(), 5, "{from:?}: {:?}", files.keys());
        for to in Kind::ALL.into_iter().filter(|to| *to != from) {
            let copy = Opened::new(to, 4);
            for (key, bytes) in &files {
                copy.store.create(key, bytes.clone()).await.unwrap();
            }
            let manager = SnapshotManager::with_store(dir.config(), copy.store.clone()).unwrap();
            let listed = manager.list_snapshots().await.unwrap();
            assert_eq!(listed, std::slice::from_ref(&made), "{from:?} to {to:?}");
            assert_eq!(listed[0].checksum, made.checksum, "{from:?} to {to:?}");
            assert_restores(&manager, &made.id, &database).await;
            assert_eq!(objects(copy.store.as_ref()).await, files, "{from:?} to {to:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 12);
}
