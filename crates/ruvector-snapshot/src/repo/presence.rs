//! Whether a snapshot exists, and the second look at one that seems to be missing or corrupt (reading rules R1 to R3 of
//! `docs/CONCURRENCY.md`).
//!
//! Readers take no steps, so a snapshot can be deleted while it is read. What a reader misses then is not damage. All
//! readers find out the difference here.

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::SnapshotStore;

/// Returns whether the snapshot is committed.
pub(crate) async fn exists(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Returns the error to report for one that was found while the snapshot `id` was read, in it or in an ancestor.
///
/// If the snapshot is gone by now, it was deleted meanwhile (R1). That also holds for a missing ancestor: a deletion
/// deletes dependents first (D4), so an ancestor that is missing while the snapshot exists is lost (R2). A deletion
/// marker proves nothing: it can be left beside an intact snapshot for days (R3).
pub(crate) async fn judge(store: &dyn SnapshotStore, id: &SnapshotId, found: SnapshotError) -> SnapshotError {
    if found.kind() != ErrorKind::Corrupt {
        return found;
    }
    match exists(store, id).await {
        Ok(true) => found,
        Ok(false) => deleted_meanwhile(id),
        // Nobody knows whether it is damage.
        Err(error) => error,
    }
}

pub(crate) fn no_snapshot(id: &SnapshotId) -> SnapshotError {
    let message = format!("snapshot {id} does not exist or was deleted meanwhile; `list` shows all snapshots");
    SnapshotError::new(ErrorKind::NotFound, message)
}

/// Returns the error for a snapshot that existed when the work began.
pub(crate) fn deleted_meanwhile(id: &SnapshotId) -> SnapshotError {
    let message = format!("snapshot {id} was deleted meanwhile; `list` shows all snapshots");
    SnapshotError::new(ErrorKind::NotFound, message)
}
