//! Stores without a server, the objects of a store, and snapshots of a database file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, Result, Snapshot, SnapshotManager};

/// Opens the store in a directory of snapshots.
pub fn local_store(snapshots: &Path) -> Arc<dyn SnapshotStore> {
    open(&Location::Local(snapshots.to_owned()), &StoreConfig::default()).unwrap()
}

/// Returns an empty store in memory.
pub fn memory_store() -> Arc<dyn SnapshotStore> {
    open(&Location::Memory, &StoreConfig::default()).unwrap()
}

/// Takes a full snapshot of a database file with default options.
pub async fn create_full(manager: &SnapshotManager, path: &Path, name: &str) -> Result<Snapshot> {
    manager.create_snapshot_of_file(path, name, &CreateOptions::default()).await
}

/// Returns every object of a store by its key.
pub async fn objects(store: &dyn SnapshotStore) -> BTreeMap<String, Bytes> {
    let infos: Vec<_> = store.list("").try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for info in infos {
        let bytes = store.get(&info.key, info.size_bytes).await.unwrap();
        objects.insert(info.key, bytes);
    }
    objects
}
