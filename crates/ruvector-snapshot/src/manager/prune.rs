//! delete and clean-up: carries plans out and decides nothing.
//!
//! A snapshot loses its metadata.json first and is none from then on; its data follows. A crash in between leaves data
//! without a metadata.json, which is no snapshot. A delete that has begun is completed, even where nobody waits for it.

use tracing::Instrument as _;

use super::retention::PrunePlan;
use super::{Listing, SnapshotManager, failed_task, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout;
use crate::store::SnapshotStore;

/// Refuses where a snapshot other than `of` cannot be read, be it that a newer version wrote it: it may stand on others. One that
/// is damaged stands on nothing any more.
pub(super) fn check_dependants(listing: &Listing, of: &[&SnapshotId]) -> Result<()> {
    let unknown = listing
        .damaged
        .iter()
        .find(|other| other.error.kind() != ErrorKind::Damaged && !of.iter().any(|id| id.as_str() == other.id));
    match unknown {
        None => Ok(()),
        Some(other) => Err(SnapshotError::new(
            other.error.kind(),
            format!(
                "snapshot {} cannot be read and may stand on others, so nothing was deleted: {}",
                other.id,
                other.error.message()
            ),
        )),
    }
}

/// Deletes a snapshot: its five files, and nothing else that may lie under its prefix.
pub(super) async fn delete(manager: &SnapshotManager, id: &SnapshotId) -> Result<()> {
    let (store, id) = (manager.store.clone(), id.clone());
    let deleting = async move { delete_files(store.as_ref(), &id).await };
    manager.tasks.spawn(deleting.in_current_span()).await.unwrap_or_else(|error| Err(failed_task(error)))
}

/// Deletes what the plan drops, oldest first.
pub(super) async fn carry_out(manager: &SnapshotManager, plan: &PrunePlan) -> Result<usize> {
    let mut deleted = 0;
    for snapshot in plan.drop.iter().rev() {
        match delete(manager, &snapshot.id.parse()?).await {
            Ok(()) => deleted += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

async fn delete_files(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    let [metadata_json, rest @ ..] = layout::FILES.map(|file| layout::key(id, file));
    match store.head(&metadata_json).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_snapshot(id).because(error)),
        answer => answer?,
    };
    store.delete(&metadata_json).await?;
    for key in rest {
        store.delete(&key).await.map_err(|error| {
            let what = "the snapshot is deleted, but this file of it could not be removed, and takes up room";
            SnapshotError::new(error.kind(), what).at(key).because(error)
        })?;
    }
    Ok(())
}
