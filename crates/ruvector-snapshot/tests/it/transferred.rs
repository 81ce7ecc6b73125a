//! What a create, a compact and a restore report of the bytes that they have read and written: exactly those.

use std::sync::{Arc, Mutex};

use ruvector_snapshot::source::RestoreTarget;
use ruvector_snapshot::{
    CreateOptions, Progress, ProgressUpdate, Record, RestoreOptions, Result, SnapshotManager, Transferred,
};
use test_fixtures::{CountingStore, TestDir, make_database, memory_store, objects};

#[derive(Debug, Default)]
struct Reports(Mutex<Vec<Transferred>>);

impl Progress for Reports {
    fn update(&self, _update: ProgressUpdate) {}

    fn transferred(&self, transferred: Transferred) {
        self.0.lock().unwrap().push(transferred);
    }
}

impl Reports {
    /// Returns the only report since the last call.
    #[track_caller]
    fn take(&self) -> Transferred {
        let reports = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports[0]
    }
}

struct Nowhere;

impl RestoreTarget for Nowhere {
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        records.for_each(drop);
        Ok(())
    }
}

/// A store whose reads are counted, a full snapshot in it, and an increment.
struct Chain {
    dir: TestDir,
    store: Arc<CountingStore>,
    manager: SnapshotManager,
    reports: Arc<Reports>,
}

impl Chain {
    fn new() -> Self {
        let dir = TestDir::new();
        let store = CountingStore::over(memory_store());
        let manager = dir.manager_with_store(store.clone());
        Self { dir, store, manager, reports: Arc::default() }
    }

    fn read_bytes(&self) -> u64 {
        self.store.take_bytes_read().values().sum()
    }

    async fn stored_bytes(&self) -> u64 {
        let bytes = objects(self.store.as_ref()).await.values().map(|bytes| bytes.len() as u64).sum();
        self.read_bytes();
        bytes
    }

    async fn create(&self, base_id: Option<&str>) -> String {
        let options = CreateOptions::default().progress(self.reports.clone());
        let options = base_id.map_or(options.clone(), |base_id| options.base_id(base_id));
        self.manager.create_snapshot_of_file(&self.dir.path("a.db"), "one", &options).await.unwrap().id
    }

    #[track_caller]
    fn assert_reads_are_reported(&self) -> Transferred {
        let transferred = self.reports.take();
        assert_eq!(transferred.store_read_bytes, self.read_bytes());
        transferred
    }
}

#[tokio::test]
async fn every_verb_reports_exactly_what_it_reads_and_writes() {
    let chain = Chain::new();
    let db = make_database(&chain.dir.path("a.db"), 3000, 16, 1);
    let full = chain.create(None).await;
    let created = chain.assert_reads_are_reported();
    assert_eq!((created.store_written_bytes, created.file_written_bytes), (chain.stored_bytes().await, 0));

    let first = db.keys().unwrap().into_iter().next().unwrap();
    db.delete(&first).unwrap();
    drop(db);
    let increment = chain.create(Some(&full)).await;
    assert!(chain.assert_reads_are_reported().store_read_bytes > 0);
    let before = chain.stored_bytes().await;

    let full_bytes = chain.manager.get_snapshot(&full).await.unwrap().unwrap().size_bytes;
    chain.read_bytes();
    let options = RestoreOptions::default().progress(chain.reports.clone());
    let assert_restored = |writes_file: bool| {
        let restored = chain.assert_reads_are_reported();
        assert!(restored.store_read_bytes > full_bytes / 2, "{restored:?} of {full_bytes}");
        assert_eq!(restored.store_written_bytes, 0);
        assert_eq!(restored.file_written_bytes > 2999 * 16 * 4, writes_file, "{restored:?}");
    };
    chain.manager.restore_snapshot_to(&increment, chain.dir.restored(), &options).await.unwrap();
    assert_restored(true);
    drop(chain.manager.restore_snapshot_with(&increment, &options).await.unwrap());
    assert_restored(false);
    chain.manager.restore_into(&increment, &mut Nowhere, &options).await.unwrap();
    assert_restored(false);

    chain.manager.compact_snapshot(&increment, Some(chain.reports.clone())).await.unwrap();
    let compacted = chain.assert_reads_are_reported();
    assert!(compacted.store_read_bytes > full_bytes / 2);
    assert_eq!(compacted.store_written_bytes, chain.stored_bytes().await - before);
}

#[tokio::test]
async fn what_fails_reports_nothing() {
    let chain = Chain::new();
    drop(make_database(&chain.dir.path("a.db"), 30, 4, 1));
    let full = chain.create(None).await;
    chain.reports.take();
    let options = RestoreOptions::default().progress(chain.reports.clone());
    chain.manager.restore_snapshot_to(&full, chain.dir.path("a.db"), &options).await.unwrap_err();
    chain.manager.compact_snapshot(&full, Some(chain.reports.clone())).await.unwrap_err();
    assert_eq!(*chain.reports.0.lock().unwrap(), []);
}
