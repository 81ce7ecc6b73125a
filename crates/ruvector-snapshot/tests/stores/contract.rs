//! The conformance suite on stores in memory, on a prefix of a store, and on a store that a user wrote.

use std::sync::Arc;

use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::store::{Location, ObjectSnapshotStore, SnapshotStore, StoreConfig, open};

use super::custom_store::MapStore;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_passes_the_conformance_suite() {
    let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
    conformance::run_all(store, "suite").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_passes_the_conformance_suite_and_touches_nothing_else() {
    let objects = Arc::new(object_store::memory::InMemory::new());
    let inside = ObjectSnapshotStore::new(objects.clone(), "in/side", "memory").unwrap();
    let sibling = ObjectSnapshotStore::new(objects.clone(), "in/side-by-side", "memory").unwrap();
    let root = ObjectSnapshotStore::new(objects.clone(), "", "memory").unwrap();
    sibling.create("other", "x".into()).await.unwrap();
    inside.create("own", "x".into()).await.unwrap();
    let foreign = object_store::path::Path::parse("in/side/no key#1").unwrap();
    object_store::ObjectStoreExt::put(objects.as_ref(), &foreign, "x".into()).await.unwrap();

    assert_eq!(keys(&inside, "").await, ["own"]);
    assert_eq!(keys(&root, "").await, ["in/side-by-side/other", "in/side/own"]);
    conformance::run_all(Arc::new(inside), "suite").await.unwrap();
    assert_eq!(keys(&root, "").await, ["in/side-by-side/other", "in/side/own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_written_by_a_user_passes_the_conformance_suite() {
    conformance::run_all(Arc::new(MapStore::default()), "suite").await.unwrap();
}

#[tokio::test]
async fn the_conformance_suite_refuses_a_prefix_in_use() {
    let store = Arc::new(MapStore::default());
    store.create("suite/mine", "x".into()).await.unwrap();
    conformance::run_all(store.clone(), "suite").await.unwrap_err();
    assert_eq!(keys(store.as_ref(), "").await, ["suite/mine"]);
}

/// Returns the keys with a prefix, sorted.
pub(crate) async fn keys(store: &dyn SnapshotStore, prefix: &str) -> Vec<String> {
    use futures::TryStreamExt;
    let mut keys: Vec<_> = store.list(prefix).map_ok(|info| info.key).try_collect().await.unwrap();
    keys.sort();
    keys
}
