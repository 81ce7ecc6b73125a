//! A directory with a database and one snapshot, which must survive every interruption of another operation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvector_snapshot::store::testing::fault::{Fault, FaultStore, Steps};
use ruvector_snapshot::{Snapshot, SnapshotManager};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, create_full, make_database, names};

pub(crate) struct Fixture {
    pub(crate) dir: TestDir,
    /// A manager without faults.
    pub(crate) manager: SnapshotManager,
    /// The snapshot that exists from the start.
    pub(crate) old: Snapshot,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let dir = TestDir::new();
        drop(make_database(&dir.path("a.db"), 40, 4, 1));
        let manager = dir.manager();
        let old = create_full(&manager, &dir.path("a.db"), "old").await.unwrap();
        Self { dir, manager, old }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path("a.db")
    }

    /// Returns a manager with faults at some steps of its store, and the log of these steps.
    pub(crate) fn manager_with_faults(
        &self,
        faults: impl IntoIterator<Item = (usize, Fault)>,
    ) -> (SnapshotManager, Arc<Steps>) {
        let (store, steps) = FaultStore::over(self.dir.local_store(), faults);
        (self.dir.manager_with_store(store), steps)
    }

    /// Returns the ids of all snapshots but the old one. Asserts that every listed snapshot is intact, that the old one
    /// is listed, and that the pending uploads are exactly the prefixes with files and without a commit.
    pub(crate) async fn new_ids(&self, what: &str) -> Vec<String> {
        let listing = self.manager.list().await.unwrap();
        assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
        for snapshot in &listing.snapshots {
            assert!(self.manager.verify_snapshot(&snapshot.id).await.unwrap(), "{what}: {} is corrupt", snapshot.name);
        }
        let pending_uploads: BTreeSet<String> = listing.pending_uploads.into_iter().collect();
        assert_eq!(pending_uploads, uncommitted_on_disk(&self.dir.snapshots()), "{what}");
        let mut ids: Vec<_> = listing.snapshots.into_iter().map(|snapshot| snapshot.id).collect();
        assert!(ids.contains(&self.old.id), "{what}: the old snapshot is gone");
        ids.retain(|id| *id != self.old.id);
        ids
    }

    /// Asserts that the store holds nothing but the old snapshot, not even a temporary file.
    #[track_caller]
    pub(crate) fn assert_only_old(&self, what: &str) {
        let old = format!("snapshot-{}", self.old.id);
        let mut left = names(&self.dir.snapshots());
        left.retain(|name| *name != old);
        let files: Vec<_> = left.iter().map(|name| names(&self.dir.snapshots().join(name))).collect();
        assert!(left.is_empty(), "{what} left {left:?} with {files:?}");
    }

    pub(crate) async fn delete_all(&self, ids: Vec<String>) {
        for id in ids {
            self.manager.delete_snapshot(&id).await.unwrap();
        }
    }

    pub(crate) async fn create_next(&self) -> String {
        create_full(&self.manager, &self.database(), "next").await.unwrap().id
    }
}

/// Returns the ids of the prefixes that hold snapshot files but no `metadata.json`, and are not being deleted.
fn uncommitted_on_disk(snapshots: &Path) -> BTreeSet<String> {
    let ids = names(snapshots).into_iter().filter_map(|name| name.strip_prefix("snapshot-").map(str::to_owned));
    ids.filter(|id| {
        let files = names(&snapshots.join(format!("snapshot-{id}")));
        let has = |name: &str| files.iter().any(|file| file == name);
        let is_deleted = files.iter().any(|file| layout::is_deletion_marker(file));
        layout::FILES.into_iter().any(has) && !has(layout::METADATA_JSON) && !is_deleted
    })
    .collect()
}
