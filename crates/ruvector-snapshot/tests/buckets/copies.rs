//! A snapshot is five objects and nothing else: copied byte for byte to any other store, it is the same snapshot there.

use ruvector_snapshot::SnapshotManager;

use crate::common::Place;
use crate::stores::{Kind, Opened, assert_restores, create, make_small, objects};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_same_in_every_store_that_it_is_copied_to() {
    let place = Place::new();
    let database = make_small(&place, "a.db", 300);
    let mut pairs = 0;
    for from in Kind::ALL {
        let source = Opened::new(from, 4);
        let manager = SnapshotManager::with_store(place.config(), source.store.clone()).unwrap();
        let made = create(&manager, &database, "copied").await.unwrap();
        let files = objects(source.store.as_ref()).await;
        assert_eq!(files.len(), 5, "{from:?}: {:?}", files.keys());
        for to in Kind::ALL.into_iter().filter(|to| *to != from) {
            let copy = Opened::new(to, 4);
            for (key, bytes) in &files {
                copy.store.create(key, bytes.clone()).await.unwrap();
            }
            let manager = SnapshotManager::with_store(place.config(), copy.store.clone()).unwrap();
            let shown = manager.list_snapshots().await.unwrap();
            assert_eq!(shown, std::slice::from_ref(&made), "{from:?} to {to:?}");
            assert_eq!(shown[0].checksum, made.checksum, "{from:?} to {to:?}");
            assert_restores(&manager, &made.id, &database).await;
            assert_eq!(objects(copy.store.as_ref()).await, files, "{from:?} to {to:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 12);
}
