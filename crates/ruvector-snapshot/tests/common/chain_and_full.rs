//! A chain of a full snapshot and two increments, and a full snapshot of another name. They are made once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use ruvector_snapshot::CreateOptions;
use ruvector_snapshot::store::SnapshotStore;
use test_fixtures::{Contents, TestDir, TickingClock, contents, entry, make_database, memory_store, objects};
use tokio::sync::OnceCell;

pub struct ChainAndFull {
    /// Every object.
    pub objects: BTreeMap<String, Bytes>,
    /// The ids of the snapshots, oldest first. The last one is `team/nightly`, which nothing depends on.
    pub ids: Vec<String>,
    /// The records of the snapshots.
    pub contents: Vec<Contents>,
}

static MADE: OnceCell<ChainAndFull> = OnceCell::const_new();

pub async fn chain_and_full() -> &'static ChainAndFull {
    MADE.get_or_init(ChainAndFull::new).await
}

impl ChainAndFull {
    async fn new() -> Self {
        let (dir, store) = (TestDir::new(), memory_store());
        let clock = TickingClock::from_year(2020, TimeDelta::minutes(1));
        let manager = dir.manager_with_store(store.clone()).with_clock(clock);
        let db = make_database(&dir.path("a.db"), 40, 4, 1);
        let (mut ids, mut all): (Vec<String>, _) = (Vec::new(), Vec::new());
        for number in 0..4 {
            db.insert(entry(format!("new-{number}"), number, 4, 2)).unwrap();
            let (name, options) = match ids.last() {
                Some(base_id) if number < 3 => ("chain", CreateOptions::default().base_id(base_id)),
                None => ("chain", CreateOptions::default()),
                Some(_) => ("team/nightly", CreateOptions::default()),
            };
            let created = manager.create_snapshot_of_file(dir.path("a.db"), name, &options).await;
            ids.push(created.unwrap().id);
            all.push(contents(&db));
        }
        Self { objects: objects(store.as_ref()).await, ids, contents: all }
    }

    /// Returns a new store in memory that holds the snapshots.
    pub async fn new_store(&self) -> Arc<dyn SnapshotStore> {
        let store = memory_store();
        for (key, bytes) in &self.objects {
            store.create(key, bytes.clone()).await.unwrap();
        }
        store
    }
}
