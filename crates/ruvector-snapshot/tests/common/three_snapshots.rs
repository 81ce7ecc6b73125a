//! Three snapshots of three small databases, and a fourth database without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{Result, Snapshot, SnapshotConfig, SnapshotManager};
use ruvector_snapshot_format::layout;
use test_fixtures::{Contents, TestDir, TickingClock, contents, create_full, make_database, memory_store, objects};

pub struct ThreeSnapshots {
    pub dir: TestDir,
    /// Every object of the three snapshots.
    pub objects: BTreeMap<String, Bytes>,
    /// The ids of the snapshots, oldest first.
    pub ids: Vec<String>,
    /// The records of the four databases.
    pub contents: Vec<Contents>,
}

impl ThreeSnapshots {
    pub async fn new() -> Self {
        let dir = TestDir::new();
        let store = memory_store();
        let clock = TickingClock::from_year(2020, TimeDelta::minutes(1));
        // Of one source, so that a clean-up keeps the newest of all.
        let config = SnapshotConfig { source_name: Some("one of all".to_owned()), ..dir.config() };
        let manager = SnapshotManager::with_store(config, store.clone()).unwrap().with_clock(clock);
        let (mut ids, mut all) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let path = dir.path(&format!("{number}.db"));
            all.push(contents(&make_database(&path, 10 + number, 4, number as u64)));
            if number < 3 {
                ids.push(create_full(&manager, &path, "kept").await.unwrap().id);
            }
        }
        Self { dir, objects: objects(store.as_ref()).await, ids, contents: all }
    }

    /// Returns a new store in memory that holds the three snapshots.
    pub async fn new_store(&self) -> Arc<dyn SnapshotStore> {
        let store = memory_store();
        for (key, bytes) in &self.objects {
            store.create(key, bytes.clone()).await.unwrap();
        }
        store
    }

    /// Takes a snapshot of the fourth database.
    pub async fn create_fourth(&self, manager: &SnapshotManager) -> Result<Snapshot> {
        create_full(manager, &self.dir.path("3.db"), "new").await
    }
}

/// Returns the key of a file of a snapshot.
pub fn key(id: &str, file: &str) -> String {
    layout::key(&id.parse().unwrap(), file)
}
